// A file's content as a stream of bytes, gzip and zstd taken off.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace levanter::data {

/// A file read from its beginning to its end.
class ByteReader {
 public:
  virtual ~ByteReader() = default;

  /// Fills the beginning of `out` with the next bytes; returns how many, 0 only at the end.
  /// error  kData when the file is damaged or cut, kIo when the system can't read it
  virtual size_t read(std::span<char> out) = 0;
  /// Bytes of the file itself, compressed or not, that were taken so far.
  virtual int64_t bytes_taken() const = 0;
};

/// The content of the file, "-" being the standard input, or of what is at a web address. One that
/// begins as gzip or zstd does, whatever its name, is decompressed: all members or frames one after
/// the other. error  kIo when the system can't open it; see HttpStream for web addresses
std::unique_ptr<ByteReader> open_decompressed(const std::string& path);

}  // namespace levanter::data
