// bfloat16: the upper half of an f32, rounded to nearest even.
#pragma once

#include <bit>
#include <cstdint>

namespace levanter {

/// A stored bfloat16: 1 sign, 8 exponent and 7 mantissa bits. Arithmetic is done in f32; storing
/// rounds to nearest, ties to even, denormals kept. A NaN stays one (quiet, its sign kept).
class Bf16 {
 public:
  Bf16() = default;
  Bf16(float x) : bits_(round(std::bit_cast<uint32_t>(x))) {}  // NOLINT: stored like a float
  operator float() const {                                     // NOLINT: read like a float
    return std::bit_cast<float>(static_cast<uint32_t>(bits_) << 16);
  }
  uint16_t bits() const { return bits_; }

 private:
  static constexpr uint16_t round(uint32_t x) {
    if ((x & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(x >> 16 | 0x0040);
    return static_cast<uint16_t>((x + 0x7fff + (x >> 16 & 1)) >> 16);
  }
  uint16_t bits_ = 0;
};

}  // namespace levanter
