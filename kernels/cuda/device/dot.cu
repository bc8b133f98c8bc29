// Products in tiles of 64 by 64: a block a tile, a thread 4 by 4 of its elements, 16 of the summed
// axis at a time through shared memory.
#include "kernels/cuda/device/device.cuh"

namespace levanter::cuda::kernels {

constexpr int kTile = kDotTile, kDepth = 16, kPitch = kTile + 1, kLoads = kTile * kDepth / kThreads;

/// Which elements of a factor's tile a thread loads: neighbours lie along k, or along the rows.
struct TilePlace {
  int row, depth;
};
inline TilePlace tile_place(bool along_k, int load) {
  const int t = int(threadIdx.x);
  if (along_k) return {t / kDepth + load * (kThreads / kDepth), t % kDepth};
  return {t % kTile, t / kTile + load * (kThreads / kTile)};
}

inline bool is_dense(const Space& k, int operand) { return k.strides[operand][k.rank - 1] == 1; }

/// tile[depth][row] of one factor, 0 outside it. `starts`: where the rows of this thread begin.
__forceinline__ void load_tile(float* tile, const DotArguments& a, const void* factor, int operand,
                               const int64_t (&starts)[kLoads], int64_t first_k) {
  const bool along_k = is_dense(a.k, operand);
  LEV_UNROLLED for (int i = 0; i < kLoads; ++i) {
    const TilePlace place = tile_place(along_k, i);
    const int64_t k = first_k + place.depth;
    float x = 0.0f;
    if (starts[i] >= 0 && k < a.k.count)
      x = load_real(factor, a.element, starts[i] + offsets_of<2>(a.k, k).at[operand]);
    tile[place.depth * kPitch + place.row] = x;
  }
}

/// Where the rows that this thread loads begin, -1 for one outside.
__forceinline__ void find_starts(int64_t (&starts)[kLoads], const Space& rows, int64_t first,
                                 bool along_k, int64_t base) {
  LEV_UNROLLED for (int i = 0; i < kLoads; ++i) {
    const int64_t row = first + tile_place(along_k, i).row;
    starts[i] = row < rows.count ? base + offsets_of<1>(rows, row).at[0] : -1;
  }
}

/// The tile of one product of the batch.
__forceinline__ void multiply_tile(const DotArguments& a, float* left, float* right,
                                   int64_t batch) {
  const Offsets<3> base = offsets_of<3>(a.batch, batch);
  const int64_t first_m = int64_t(blockIdx.x) * kTile, first_n = int64_t(blockIdx.y) * kTile;
  const int tm = int(threadIdx.x) / 16, tn = int(threadIdx.x) % 16;
  int64_t a_starts[kLoads], b_starts[kLoads];
  find_starts(a_starts, a.m, first_m, is_dense(a.k, 0), base.at[0]);
  find_starts(b_starts, a.n, first_n, is_dense(a.k, 1), base.at[1]);
  float sums[4][4] = {};
  for (int64_t k = 0; k < a.k.count; k += kDepth) {
    load_tile(left, a, a.a, 0, a_starts, k);
    load_tile(right, a, a.b, 1, b_starts, k);
    __syncthreads();
    for (int d = 0; d < kDepth; ++d)
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          sums[i][j] =
              fmaf(left[d * kPitch + tm + 16 * i], right[d * kPitch + tn + 16 * j], sums[i][j]);
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const int64_t m = first_m + tm + 16 * i, n = first_n + tn + 16 * j;
      if (m >= a.m.count || n >= a.n.count) continue;
      const Offsets<3> column = offsets_of<3>(a.n, n);
      const int64_t at = base.at[2] + offsets_of<2>(a.m, m).at[1] + column.at[1];
      float sum = sums[i][j];
      if (a.bias) sum = sum + load_real(a.bias, a.element, column.at[2]);
      if (a.adds) sum = load_real(a.c, a.result, at) + sum;
      store_real(a.c, a.result, at, sum);
    }
}

LEV_KERNEL(dot, DotArguments) {
  LEV_SHARED(float, left, kDepth* kPitch);
  LEV_SHARED(float, right, kDepth* kPitch);
  for (int64_t batch = blockIdx.z; batch < a.batch.count; batch += gridDim.z)
    multiply_tile(a, left, right, batch);
}

// The check of a library's product; see kernels/cuda/products.h. A block a row.

LEV_KERNEL(product_ones, OnesArguments) {
  for (int64_t row = blockIdx.x; row < a.rows.count; row += gridDim.x) {
    const int64_t start = offsets_of<1>(a.rows, row).at[0];
    for (int64_t i = threadIdx.x; i < a.columns; i += kThreads)
      store_real(a.to, a.element, start + i * a.stride, i < a.first ? 0.0f : 1.0f);
  }
}

LEV_KERNEL(product_expect, ExpectArguments) {
  for (int64_t row = blockIdx.x; row < a.rows.count; row += gridDim.x) {
    const int64_t start = offsets_of<1>(a.rows, row).at[0];
    for (int64_t i = threadIdx.x; i < a.columns; i += kThreads)
      if (load_real(a.from, a.element, start + i) != a.expected) *a.wrong = 1;
  }
}

}  // namespace levanter::cuda::kernels
