// What every kernel is written with: a small subset of CUDA C++ that two compilers read, NVRTC for
// a card and the host's for the emulated device of the tests, which includes its own header first.
//
// The subset. A kernel is LEV_KERNEL(name, Arguments) { ... a.member ... }, run by blocks of
// kThreads threads, or LEV_KERNEL_OF(name, Arguments, threads), or LEV_KERNEL_BLOCKS(name,
// Arguments, threads, blocks) where a multiprocessor's registers shall suffice for so many blocks;
// shared memory is LEV_SHARED(type, name, count), or LEV_DYNAMIC_SHARED(name), bytes of which the
// launch says how many. Collectives are __syncthreads(), which all threads of a block reach
// together, and those of whole warps: __syncwarp(), __shfl_xor_sync, __shfl_sync,
// multiply_fragments, load_matrices. No atomics on floats, no printf, no memory from the heap, no
// function that is not here or in math.cuh. Arithmetic is IEEE's, one rounding an operation, fused
// only where fmaf is written: the emulated device has a card's bits, but for those of a NaN and of
// multiply_fragments.
#pragma once

#ifdef __CUDACC_RTC__
typedef signed char int8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define LEV_KERNEL_OF(name, Arguments, threads) LEV_KERNEL_BLOCKS(name, Arguments, threads, 1)
#define LEV_KERNEL_BLOCKS(name, Arguments, threads, blocks)     \
  extern "C" __global__ void __launch_bounds__(threads, blocks) \
      name(const __grid_constant__ Arguments a)
#define LEV_SHARED(type, name, count) __shared__ type name[count]
#define LEV_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define LEV_ROLLED _Pragma("unroll 1")
#define LEV_UNROLLED _Pragma("unroll")
#define LEV_ALIASES
#else
#define LEV_KERNEL_BLOCKS(name, Arguments, threads, blocks) LEV_KERNEL_OF(name, Arguments, threads)
#endif
#define LEV_KERNEL(name, Arguments) LEV_KERNEL_OF(name, Arguments, 256)

#include "kernels/cuda/device/arguments.h"

namespace levanter::cuda::kernels {

/// The index of this thread in the grid, and of how many.
inline int64_t first_index() { return int64_t(blockIdx.x) * kThreads + threadIdx.x; }
inline int64_t index_step() { return int64_t(gridDim.x) * kThreads; }

inline float float_of(uint32_t bits) { return __uint_as_float(bits); }
inline uint32_t bits_of(float x) { return __float_as_uint(x); }

inline float widen(uint16_t x) { return float_of(uint32_t(x) << 16); }
/// To nearest, ties to even; a NaN stays one.
inline uint16_t narrow(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t(bits >> 16 | 0x0040u);
  return uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// Two of them in a word, the first in the lower half.
inline uint32_t narrow_two(float low, float high) {
#ifdef __CUDACC_RTC__
  uint32_t words;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(words) : "f"(high), "f"(low));
  return words;
#else
  return uint32_t(narrow(low)) | uint32_t(narrow(high)) << 16;
#endif
}

/// A floating element, widened.
inline float load_real(const void* from, Element element, int64_t at) {
  if (element == Element::kBf16) return widen(static_cast<const uint16_t*>(from)[at]);
  return static_cast<const float*>(from)[at];
}
/// A floating element, rounded.
inline void store_real(void* to, Element element, int64_t at, float x) {
  if (element == Element::kBf16)
    static_cast<uint16_t*>(to)[at] = narrow(x);
  else
    static_cast<float*>(to)[at] = x;
}

/// Sixteen bytes that are read and written at once.
struct alignas(16) LEV_ALIASES Quad {
  uint32_t at[4];
};

/// 16 bytes that move at once.
template <class Element>
struct alignas(16) Chunk {
  static constexpr int kElements = 16 / sizeof(Element);
  Element at[kElements];
};
template <class Element>
struct alignas(2 * sizeof(Element)) Pair {
  Element at[2];
};

/// A word of 2 or 4 bytes, whatever it means.
inline uint32_t load_word(const void* from, int word_bytes, int64_t at) {
  if (word_bytes == 2) return static_cast<const uint16_t*>(from)[at];
  return static_cast<const uint32_t*>(from)[at];
}
inline void store_word(void* to, int word_bytes, int64_t at, uint32_t word) {
  if (word_bytes == 2)
    static_cast<uint16_t*>(to)[at] = uint16_t(word);
  else
    static_cast<uint32_t*>(to)[at] = word;
}

/// index / space.sizes[axis], without the division, which is a long subroutine.
inline int64_t quotient(const Space& space, int axis, int64_t index) {
  return int64_t(__umul64hi(uint64_t(index), space.factors[axis]) >> space.shifts[axis]);
}

/// Where the first operands of a space have the element of one index.
template <int kCount>
struct Offsets {
  int64_t at[kCount];
};
template <int kCount>
inline Offsets<kCount> offsets_of(const Space& space, int64_t index) {
  Offsets<kCount> offsets = {};
  LEV_ROLLED for (int axis = space.rank - 1; axis >= 0; --axis) {
    const int64_t outer = axis > 0 ? quotient(space, axis, index) : 0;
    const int64_t inside = index - outer * space.sizes[axis];
    for (int o = 0; o < kCount; ++o) offsets.at[o] += inside * space.strides[o][axis];
    index = outer;
  }
  return offsets;
}

/// The lanes' values combined in a tree of fixed shape, in all lanes.
template <class T, class Fn>
inline T combine_warp(T mine, Fn combine) {
  for (unsigned mask = 16; mask > 0; mask /= 2)
    mine = combine(mine, __shfl_xor_sync(0xffffffffu, mine, mask));
  return mine;
}

/// d += a b for a warp, of bf16 with sums in f32: a is 16 by 16, b 16 by 8, d 16 by 8. Lane l
/// holds, with g = l / 4 and t = l % 4,
///   a[0]  row g, columns 2 t and 2 t + 1; a[1]  row g + 8; a[2], a[3]  the same, columns + 8
///   b[0]  column g, rows 2 t and 2 t + 1; b[1]  rows + 8
///   d[0], d[1]  row g, columns 2 t and 2 t + 1; d[2], d[3]  row g + 8
inline void multiply_fragments(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC_RTC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  levanter::simt::multiply(d, a, b, {__FILE__, __LINE__});
#endif
}

/// Four matrices of 8 by 8 elements of 2 bytes from shared memory: lane l says where row l % 8 of
/// matrix l / 8 begins, at a multiple of 16 bytes, and gets of each matrix, or of its transpose,
/// the elements 2 t and 2 t + 1 of row g.
template <bool kTransposed>
inline void load_matrices(uint32_t (&to)[4], const uint16_t* row) {
#ifdef __CUDACC_RTC__
  const uint32_t at = uint32_t(__cvta_generic_to_shared(row));
  if (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
#else
  levanter::simt::load_matrices(to, row, kTransposed, {__FILE__, __LINE__});
#endif
}

/// The threads' values, combined in order sixteen by sixteen, in all threads. `values`: room for
/// kThreads of them, shared by the block.
template <class T, class Fn>
inline T combine_block(T* values, T mine, Fn combine) {
  const int t = int(threadIdx.x), group = 16;
  values[t] = mine;
  __syncthreads();
  if (t < group) {
    mine = values[t * group];
    for (int i = 1; i < group; ++i) mine = combine(mine, values[t * group + i]);
  }
  __syncthreads();
  if (t < group) values[t] = mine;
  __syncthreads();
  mine = values[0];
  for (int i = 1; i < group; ++i) mine = combine(mine, values[i]);
  __syncthreads();
  return mine;
}

}  // namespace levanter::cuda::kernels
