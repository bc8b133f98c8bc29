// Checksums of long arrays and whole files, block by block on all threads: at the speed of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/threads.h"

namespace levanter {

/// Bytes of a block.
inline constexpr int64_t kChecksumBlock = int64_t{1} << 26;

/// The xxh3 of each block in hexadecimal; the last block is shorter, and an empty file has none.
std::vector<std::string> checksums(std::span<const std::byte> bytes, ThreadPool& pool);
/// The same of a file; error  kIo as InputFile
std::vector<std::string> checksums(const InputFile& file, ThreadPool& pool);

/// One checksum of all blocks.
std::string checksum_of(std::span<const std::string> blocks);

}  // namespace levanter
