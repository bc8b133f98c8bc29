// What the text of a fused region is made of: see kernels/cuda/region_text.h.
#pragma once

#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/threefry.cuh"

namespace levanter::cuda::kernels {

#define LEV_MAP_REAL(name, value)                           \
  inline float value_of_##name(float x, float y, float z) { \
    (void)y, (void)z;                                       \
    return value;                                           \
  }
#define LEV_MAP(name, value)                                \
  inline float value_of_##name(float x, float y, float z) { \
    (void)y, (void)z;                                       \
    return float(value);                                    \
  }
#include "kernels/cuda/device/map.inc"
#undef LEV_MAP_REAL
#undef LEV_MAP

inline float round_to_bf16(float x) { return widen(narrow(x)); }

/// kCount elements from an address that a multiple of 16 bytes divides where kCount elements are as
/// many or more.
template <int kCount>
__forceinline__ void load_span(float (&x)[kCount], const float* from) {
  if constexpr (kCount % 4 == 0) {
    LEV_UNROLLED for (int i = 0; i < kCount; i += 4) {
      const Quad words = *reinterpret_cast<const Quad*>(from + i);
      LEV_UNROLLED for (int k = 0; k < 4; ++k) x[i + k] = float_of(words.at[k]);
    }
  } else {
    LEV_UNROLLED for (int i = 0; i < kCount; ++i) x[i] = from[i];
  }
}
template <int kCount>
__forceinline__ void load_span(float (&x)[kCount], const uint16_t* from) {
  if constexpr (kCount % 8 == 0) {
    LEV_UNROLLED for (int i = 0; i < kCount; i += 8) {
      const Quad words = *reinterpret_cast<const Quad*>(from + i);
      LEV_UNROLLED for (int k = 0; k < 4; ++k) {
        x[i + 2 * k] = float_of(words.at[k] << 16);
        x[i + 2 * k + 1] = float_of(words.at[k] & 0xffff0000u);
      }
    }
  } else {
    LEV_UNROLLED for (int i = 0; i < kCount; ++i) x[i] = widen(from[i]);
  }
}
template <int kCount>
__forceinline__ void store_span(float* to, const float (&x)[kCount]) {
  if constexpr (kCount % 4 == 0) {
    LEV_UNROLLED for (int i = 0; i < kCount; i += 4) {
      Quad words;
      LEV_UNROLLED for (int k = 0; k < 4; ++k) words.at[k] = bits_of(x[i + k]);
      *reinterpret_cast<Quad*>(to + i) = words;
    }
  } else {
    LEV_UNROLLED for (int i = 0; i < kCount; ++i) to[i] = x[i];
  }
}
template <int kCount>
__forceinline__ void store_span(uint16_t* to, const float (&x)[kCount]) {
  if constexpr (kCount % 8 == 0) {
    LEV_UNROLLED for (int i = 0; i < kCount; i += 8) {
      Quad words;
      LEV_UNROLLED for (int k = 0; k < 4; ++k) words.at[k] =
          narrow_two(x[i + 2 * k], x[i + 2 * k + 1]);
      *reinterpret_cast<Quad*>(to + i) = words;
    }
  } else {
    LEV_UNROLLED for (int i = 0; i < kCount; ++i) to[i] = narrow(x[i]);
  }
}
/// One element, as f32 and back.
inline float widened(float x) { return x; }
inline float widened(uint16_t x) { return widen(x); }
inline void store_one(float* to, float x) { *to = x; }
inline void store_one(uint16_t* to, float x) { *to = narrow(x); }

/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
inline float gelu_tanh(float x) {
  const float inner = (x + x * x * x * 0.044715f) * 0.7978845608028654f;
  return x * 0.5f * (tanh_real(inner) + 1.0f);
}
inline float gelu_erf(float x) { return x * 0.5f * (erf_real(x * 0.7071067811865476f) + 1.0f); }

/// The cotangent g through gelu at x.
inline float gelu_tanh_grad(float g, float x) {
  const float inner = (x + x * x * x * 0.044715f) * 0.7978845608028654f;
  const float t = tanh_real(inner);
  const float slope = (x * x * 0.134145f + 1.0f) * 0.7978845608028654f;
  return g * ((t + 1.0f) * 0.5f + x * 0.5f * (1.0f - t * t) * slope);
}
inline float gelu_erf_grad(float g, float x) {
  const float density = exp_real(x * x * -0.5f) * 0.3989422804014327f;
  return g * ((erf_real(x * 0.7071067811865476f) + 1.0f) * 0.5f + x * density);
}

/// Kept with probability `keep`, by the key whose words are `step` apart, and scaled by 1 / keep.
inline float drop(float x, float keep, float scale, const uint32_t* key, int64_t step,
                  int64_t counter) {
  return uniform_of(random_bits_of(key[0], key[step], counter)) < keep ? x * scale : 0.0f;
}

/// The sum over a group of kGroup threads, a warp or the whole block, in all of them: lanes in a
/// tree, then warps in order.
template <int kGroup>
inline float sum_of_group(float x) {
  x = combine_warp(x, [](float y, float z) { return y + z; });
  if constexpr (kGroup > 32) {
    LEV_SHARED(float, of_warps, kGroup / 32);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
    __syncthreads();
    x = of_warps[0];
    for (int i = 1; i < kGroup / 32; ++i) x += of_warps[i];
    __syncthreads();
  }
  return x;
}

}  // namespace levanter::cuda::kernels
