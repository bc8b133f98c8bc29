// Keys folded, bits drawn, bits as floats: a counter an element, so any order gives the same.
#include "kernels/cuda/device/threefry.cuh"

namespace levanter::cuda::kernels {

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
    a.to[o.at[1] + offsets_of<1>(a.inside, counter).at[0]] =
        random_bits_of(a.keys[o.at[0]], a.keys[o.at[0] + a.key_stride], counter);
  }
}

LEV_KERNEL(uniform, CopyArguments) {
  for (int64_t i = first_index(); i < a.space.count; i += index_step()) {
    const Offsets<2> o = offsets_of<2>(a.space, i);
    const uint32_t bits = static_cast<const uint32_t*>(a.from)[o.at[0]];
    static_cast<float*>(a.to)[o.at[1]] = uniform_of(bits);
  }
}

}  // namespace levanter::cuda::kernels
