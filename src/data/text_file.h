// Reading a text file whole, gzip or zstd taken off.
#pragma once

#include <string>
#include <string_view>

namespace levanter::data {

/// The content of a text file. One that begins as gzip or zstd does (whatever its name) is
/// decompressed, all of its members one after the other.
///   key  the configuration key that named the file, for the errors' advice
/// error  kData when the file is missing, empty, a folder or damaged; kIo when the system can't
///        read it
std::string read_text_file(const std::string& path, std::string_view key);

}  // namespace levanter::data
