// Elementwise arithmetic: a kernel for each opcode of the op `map`, called map_<its name>.
#include "kernels/cuda/device/math.cuh"

namespace levanter::cuda::kernels {

/// Where the operands of one element are.
inline Offsets<4> map_offsets(const MapArguments& a, int64_t index) {
  return offsets_of<4>(a.space, index);
}

/// fn on f32, or on bf16 widened to it and rounded once.
template <class Fn>
inline void map_real(const MapArguments& a, Fn fn) {
  for (int64_t i = first_index(); i < a.space.count; i += index_step()) {
    const Offsets<4> o = map_offsets(a, i);
    float x[3] = {};
    for (int k = 0; k < a.inputs; ++k) x[k] = load_real(a.in[k], a.element, o.at[k]);
    store_real(a.out, a.element, o.at[a.inputs], fn(x[0], x[1], x[2]));
  }
}

template <class T, class Fn>
inline void map_integer(const MapArguments& a, Fn fn) {
  for (int64_t i = first_index(); i < a.space.count; i += index_step()) {
    const Offsets<4> o = map_offsets(a, i);
    T x[3] = {};
    for (int k = 0; k < a.inputs; ++k) x[k] = static_cast<const T*>(a.in[k])[o.at[k]];
    static_cast<T*>(a.out)[o.at[a.inputs]] = T(fn(x[0], x[1], x[2]));
  }
}

/// fn on whatever the elements are.
template <class Fn>
inline void map_any(const MapArguments& a, Fn fn) {
  if (a.element == Element::kI32)
    map_integer<int32_t>(a, fn);
  else if (a.element == Element::kU32)
    map_integer<uint32_t>(a, fn);
  else
    map_real(a, [fn](float x, float y, float z) { return float(fn(x, y, z)); });
}

#define LEV_MAP_REAL(name, value)             \
  LEV_KERNEL(map_##name, MapArguments) {      \
    map_real(a, [](float x, float y, float) { \
      (void)y;                                \
      return value;                           \
    });                                       \
  }
#define LEV_MAP(name, value)                \
  LEV_KERNEL(map_##name, MapArguments) {    \
    map_any(a, [](auto x, auto y, auto z) { \
      (void)y, (void)z;                     \
      return value;                         \
    });                                     \
  }

#include "kernels/cuda/device/map.inc"

}  // namespace levanter::cuda::kernels
