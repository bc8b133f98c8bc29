// xxh3 checksums.
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"

namespace levanter {

uint64_t xxh3_64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t xxh3_64(std::string_view text) { return xxh3_64(std::as_bytes(std::span(text))); }

std::string hex64(uint64_t value) {
  std::string digits(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4)
    digits[static_cast<size_t>(i)] = "0123456789abcdef"[value & 15];
  return digits;
}

struct Hasher::Impl {
  XXH3_state_t state;
  Width width;
};

Hasher::Hasher(Width width) : impl_(std::make_unique<Impl>()) {
  impl_->width = width;
  reset();
}

Hasher::~Hasher() = default;

// Up to its last step the hash of 128 bits is that of 64.
void Hasher::reset() { XXH3_64bits_reset(&impl_->state); }

void Hasher::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&impl_->state, bytes.data(), bytes.size());
}

uint64_t Hasher::value64() const {
  LEV_CHECK(impl_->width == Width::k64, "value64 of a 128-bit hash");
  return XXH3_64bits_digest(&impl_->state);
}

std::string Hasher::hex() const {
  if (impl_->width == Width::k64) return hex64(value64());
  const XXH128_hash_t hash = XXH3_128bits_digest(&impl_->state);
  return hex64(hash.high64) + hex64(hash.low64);
}

}  // namespace levanter
