// Eight tiles in plain C++ with the arithmetic of the processor's (kernels/cpu/tile_unit.h), so
// that what is written for them runs on every machine, with the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/bf16.h"
#include "kernels/cpu/tile_unit.h"

namespace levanter::testing {

/// A denormal number counts as 0 of its sign, and becomes that.
inline float flushed(float x) {
  return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

class EmulatedTiles final {
 public:
  template <int t>
  void zero() {
    std::memset(tiles_[t], 0, sizeof tiles_[t]);
  }
  template <int t>
  void load(const void* from, int64_t stride) {
    for (int64_t row = 0; row < cpu::kTileRows; ++row)
      std::memcpy(tiles_[t] + row * cpu::kTileRowBytes,
                  static_cast<const char*>(from) + row * stride, cpu::kTileRowBytes);
  }
  template <int t>
  void store(void* to, int64_t stride) const {
    for (int64_t row = 0; row < cpu::kTileRows; ++row)
      std::memcpy(static_cast<char*>(to) + row * stride, tiles_[t] + row * cpu::kTileRowBytes,
                  cpu::kTileRowBytes);
  }
  template <int c, int a, int b>
  void multiply() {
    multiply(tiles_[c], tiles_[a], tiles_[b]);
  }
  static void will_write(const char*) {}

 private:
  /// flushed(a b + c), rounded once. The product of two bf16 is exact in f64, and wherever its sum
  /// with an f32 is not, the smaller one is too small to decide how that sum is rounded to f32.
  static float multiply_add(float a, float b, float c) {
    return flushed(static_cast<float>(double{a} * double{b} + double{c}));
  }

  static void multiply(void* c, const void* a, const void* b) {
    constexpr int kSide = cpu::kTileRows, kDepth = cpu::kTileDepth, kTile = kSide * kDepth;
    Bf16 factors[2][kTile];
    float left[kTile], right[kTile], sums[kSide * kSide];
    std::memcpy(factors[0], a, sizeof factors[0]);
    std::memcpy(factors[1], b, sizeof factors[1]);
    std::memcpy(sums, c, sizeof sums);
    for (int i = 0; i < kTile; ++i) {
      left[i] = flushed(factors[0][i]);
      right[i] = flushed(factors[1][i]);
    }
    for (int r = 0; r < kSide; ++r) {
      float even[kSide] = {}, odd[kSide] = {};
      for (int p = 0; p < kDepth; p += 2)
        for (int j = 0; j < kSide; ++j) {
          const float* const pair = right + p * kSide + 2 * j;
          even[j] = multiply_add(left[r * kDepth + p], pair[0], even[j]);
          odd[j] = multiply_add(left[r * kDepth + p + 1], pair[1], odd[j]);
        }
      for (int j = 0; j < kSide; ++j)
        sums[r * kSide + j] = flushed(sums[r * kSide + j] + flushed(even[j] + odd[j]));
    }
    std::memcpy(c, sums, sizeof sums);
  }

  alignas(64) char tiles_[8][cpu::kTileRows * cpu::kTileRowBytes] = {};
};

}  // namespace levanter::testing
