// Threefry-2x32 with 20 rounds (Salmon et al. 2011), sixteen counters at a time; for the
// vector_*.cpp only.
#pragma once

#include "kernels/cpu/vector.h"
#include "kernels/cpu/vector_isa.h"

namespace levanter::cpu::LEVANTER_ISA {

template <int kCount>
[[gnu::always_inline]] inline Words rotate(Words a) {
  return (a << kCount) | (a >> (32 - kCount));
}

struct Block {
  Words a, b;
};

template <int kRotation>
[[gnu::always_inline]] inline void mix(Block& x) {
  x.a = x.a + x.b;
  x.b = rotate<kRotation>(x.b) ^ x.a;
}

template <int... kRotations>
[[gnu::always_inline]] inline void mix_rounds(Block& x) {
  (mix<kRotations>(x), ...);
}

[[gnu::always_inline]] inline void add_key(Block& x, uint32_t a, uint32_t b, uint32_t round) {
  x.a = x.a + splat(a);
  x.b = x.b + splat(b + round);
}

/// The upper and lower words of sixteen counters: first, first + step, ...
[[gnu::always_inline]] inline Block counters(uint64_t first, uint32_t step) {
  static constexpr uint32_t kIndex[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto high = static_cast<uint32_t>(first >> 32), low = static_cast<uint32_t>(first);
  const Words lows = splat(low) + load(kIndex) * splat(step);
  const uint64_t last = first + uint64_t{step} * (kLanes - 1);
  if (static_cast<uint32_t>(last >> 32) == high) return {splat(high), lows};
  uint32_t highs[kLanes];
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    highs[lane] =
        static_cast<uint32_t>((first + uint64_t{step} * static_cast<uint64_t>(lane)) >> 32);
  }
  return {load(highs), lows};
}

/// The bits of sixteen counters: counter, counter + step, ...
[[gnu::always_inline]] inline Words block_bits(const RandomSpan& random, uint64_t counter,
                                               uint32_t step = 1) {
  const uint32_t k0 = random.key_hi, k1 = random.key_lo, k2 = k0 ^ k1 ^ 0x1bd11bdau;
  Block x = counters(counter, step);
  add_key(x, k0, k1, 0);
  mix_rounds<13, 15, 26, 6>(x);
  add_key(x, k1, k2, 1);
  mix_rounds<17, 29, 16, 24>(x);
  add_key(x, k2, k0, 2);
  mix_rounds<13, 15, 26, 6>(x);
  add_key(x, k0, k1, 3);
  mix_rounds<17, 29, 16, 24>(x);
  add_key(x, k1, k2, 4);
  mix_rounds<13, 15, 26, 6>(x);
  add_key(x, k2, k0, 5);
  return x.a ^ x.b;
}

/// In [0, 1): the upper 23 bits.
[[gnu::always_inline]] inline Floats uniform(Words word) {
  return from_bits((word >> 9) | splat(uint32_t{0x3f800000})) - splat(1.0f);
}

}  // namespace levanter::cpu::LEVANTER_ISA
