// A file's whole content, gzip and zstd taken off.
#pragma once

#include <string>

#include "data/files/decompress.h"

namespace levanter::testing {

inline std::string read_all(const std::string& path) {
  const auto reader = data::open_decompressed(path);
  std::string content;
  char block[65536];
  while (const size_t count = reader->read(block)) content.append(block, count);
  return content;
}

}  // namespace levanter::testing
