// Sum, largest or smallest along axes: a thread an output, or a block a piece of one. The order of
// a sum depends on the shape alone.
#include "kernels/cuda/device/math.cuh"

namespace levanter::cuda::kernels {

constexpr int kSum = 0, kMax = 1;

template <class T>
inline T combine(int kind, T x, T y) {
  if (kind == kSum) return x + y;
  if (x != x) return x;  // NaN where an element is
  if (kind == kMax) return y < x ? x : y;
  return x < y ? x : y;
}

/// What changes nothing that it is combined with.
inline float neutral(int kind, float) {
  if (kind == kSum) return 0.0f;
  return kind == kMax ? -infinity() : infinity();
}
inline uint32_t neutral(int kind, uint32_t) { return kind == kSum || kind == kMax ? 0u : ~0u; }
inline int32_t neutral(int kind, int32_t) {
  if (kind == kSum) return 0;
  return kind == kMax ? -2147483647 - 1 : 2147483647;
}

inline float load(const ReduceArguments& a, int64_t at, float) {
  return load_real(a.from, a.element, at);
}
template <class T>
inline T load(const ReduceArguments& a, int64_t at, T) {
  return static_cast<const T*>(a.from)[at];
}

/// A thread an output, its elements in order.
template <class T>
inline void reduce_threads(const ReduceArguments& a) {
  for (int64_t i = first_index(); i < a.outer.count; i += index_step()) {
    const Offsets<2> o = offsets_of<2>(a.outer, i);
    T total = neutral(a.kind, T{});
    for (int64_t k = 0; k < a.inner.count; ++k)
      total = combine(a.kind, total, load(a, o.at[0] + offsets_of<1>(a.inner, k).at[0], T{}));
    static_cast<T*>(a.to)[o.at[1]] = total;
  }
}

/// A block a piece of an output.
template <class T>
inline void reduce_blocks(const ReduceArguments& a) {
  LEV_SHARED(T, values, kThreads);
  const int64_t output = blockIdx.x / a.pieces, piece = blockIdx.x % a.pieces;
  const Offsets<2> o = offsets_of<2>(a.outer, output);
  const int64_t begin = piece * a.piece_length, whole = begin + a.piece_length;
  const int64_t end = whole < a.inner.count ? whole : a.inner.count;
  T total = neutral(a.kind, T{});
  for (int64_t k = begin + threadIdx.x; k < end; k += kThreads)
    total = combine(a.kind, total, load(a, o.at[0] + offsets_of<1>(a.inner, k).at[0], T{}));
  total = combine_block(values, total, [&](T x, T y) { return combine(a.kind, x, y); });
  if (threadIdx.x != 0) return;
  if (a.pieces > 1)
    static_cast<T*>(a.partial)[output * a.pieces + piece] = total;
  else
    static_cast<T*>(a.to)[o.at[1]] = total;
}

/// A thread a column: the sums of blocks of rows in order, read ahead by eight.
LEV_KERNEL(sum_blocks, SumBlocksArguments) {
  for (int64_t column = first_index(); column < a.width; column += index_step()) {
    float total = a.from[column];
    for (int64_t first = 1; first < a.blocks; first += 8) {
      float x[8];
      LEV_UNROLLED for (int i = 0; i < 8; ++i) x[i] =
          first + i < a.blocks ? a.from[(first + i) * a.width + column] : 0.0f;
      LEV_UNROLLED for (int i = 0; i < 8; ++i) if (first + i < a.blocks) total += x[i];
    }
    a.to[column] = total;
  }
}

LEV_KERNEL(reduce_threads_real, ReduceArguments) { reduce_threads<float>(a); }
LEV_KERNEL(reduce_threads_i32, ReduceArguments) { reduce_threads<int32_t>(a); }
LEV_KERNEL(reduce_threads_u32, ReduceArguments) { reduce_threads<uint32_t>(a); }
LEV_KERNEL(reduce_blocks_real, ReduceArguments) { reduce_blocks<float>(a); }
LEV_KERNEL(reduce_blocks_i32, ReduceArguments) { reduce_blocks<int32_t>(a); }
LEV_KERNEL(reduce_blocks_u32, ReduceArguments) { reduce_blocks<uint32_t>(a); }

}  // namespace levanter::cuda::kernels
