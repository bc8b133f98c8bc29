// xxh3 checksums (Collet, https://xxhash.com), seed 0: 64 bits for files, 128 for parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace levanter {

/// The 64-bit xxh3 of the bytes.
uint64_t xxh3_64(std::span<const std::byte> bytes);
uint64_t xxh3_64(std::string_view text);

/// Sixteen lower-case hexadecimal digits, most significant first.
std::string hex64(uint64_t value);

/// xxh3 of bytes that come in pieces; equal to the hash of all of them at once.
class Hasher final {
 public:
  enum class Width { k64, k128 };

  explicit Hasher(Width width);
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  /// Starts anew.
  void reset();
  void update(std::span<const std::byte> bytes);
  /// The value so far, for width k64.
  uint64_t value64() const;
  /// The value so far in canonical (big-endian) hexadecimal: 16 or 32 digits.
  std::string hex() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter
