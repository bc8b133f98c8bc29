// Threefry-2x32-20 as base/random.h describes it: a counter an element, so any order gives the
// same.
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

LEV_KERNEL(fold_in, RandomArguments) {
  for (int64_t i = first_index(); i < a.rows.count; i += index_step()) {
    const Offsets<2> o = offsets_of<2>(a.rows, i);
    const Words w = threefry(a.keys[o.at[0]], a.keys[o.at[0] + a.key_stride], 0, a.data);
    a.to[o.at[1]] = w.x0;
    a.to[o.at[1] + a.to_stride] = w.x1;
  }
}

LEV_KERNEL(random_bits, RandomArguments) {
  for (int64_t i = first_index(); i < a.rows.count * a.inside.count; i += index_step()) {
    const int64_t row = i / a.inside.count, counter = i - row * a.inside.count;
    const Offsets<2> o = offsets_of<2>(a.rows, row);
    const Words w = threefry(a.keys[o.at[0]], a.keys[o.at[0] + a.key_stride],
                             uint32_t(uint64_t(counter) >> 32), uint32_t(counter));
    a.to[o.at[1] + offsets_of<1>(a.inside, counter).at[0]] = w.x0 ^ w.x1;
  }
}

LEV_KERNEL(uniform, CopyArguments) {
  for (int64_t i = first_index(); i < a.space.count; i += index_step()) {
    const Offsets<2> o = offsets_of<2>(a.space, i);
    const uint32_t bits = static_cast<const uint32_t*>(a.from)[o.at[0]];
    static_cast<float*>(a.to)[o.at[1]] = float_of(bits >> 9 | 0x3f800000u) - 1.0f;
  }
}

}  // namespace levanter::cuda::kernels
