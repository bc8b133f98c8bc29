// Threefry-2x32-20 as base/random.h describes it.
#pragma once

#include "kernels/cuda/device/device.cuh"

namespace levanter::cuda::kernels {

struct Words {
  uint32_t x0, x1;
};

inline void mix_round(Words& w, int rotation) {
  w.x0 += w.x1;
  w.x1 = (w.x1 << rotation) | (w.x1 >> (32 - rotation));
  w.x1 ^= w.x0;
}

/// Four rounds, then the key's words and the number of the group.
inline void mix_group(Words& w, bool even, uint32_t k0, uint32_t k1, uint32_t group) {
  mix_round(w, even ? 13 : 17);
  mix_round(w, even ? 15 : 29);
  mix_round(w, even ? 26 : 16);
  mix_round(w, even ? 6 : 24);
  w.x0 += k0;
  w.x1 += k1 + group;
}

inline Words threefry(uint32_t k0, uint32_t k1, uint32_t x0, uint32_t x1) {
  const uint32_t k2 = k0 ^ k1 ^ 0x1BD11BDAu;
  Words w = {x0 + k0, x1 + k1};
  mix_group(w, true, k1, k2, 1);
  mix_group(w, false, k2, k0, 2);
  mix_group(w, true, k0, k1, 3);
  mix_group(w, false, k1, k2, 4);
  mix_group(w, true, k2, k0, 5);
  return w;
}

/// The bits of one counter under a key.
inline uint32_t random_bits_of(uint32_t k0, uint32_t k1, int64_t counter) {
  const Words w = threefry(k0, k1, uint32_t(uint64_t(counter) >> 32), uint32_t(counter));
  return w.x0 ^ w.x1;
}

/// In [0, 1), from 23 of the bits.
inline float uniform_of(uint32_t bits) { return float_of(bits >> 9 | 0x3f800000u) - 1.0f; }

}  // namespace levanter::cuda::kernels
