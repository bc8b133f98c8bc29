// What both passes of attention share inside: a worker's scratch, and rows between strides.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/cpu/attention.h"

namespace levanter::cpu {

/// A worker's scratch; each pass uses its part. "Turned" is transposed.
struct Attention::Scratch {
  int worker;
  int32_t* segments;                        ///< [queries], then 0
  float *k, *v, *dk, *dv;                   ///< [keys, head_dim]
  float* v_turned;                          ///< [head_dim, keys]
  float* k_turned;                          ///< for each block of keys [head_dim, block]
  float *q, *d_o;                           ///< for each tile of queries [width, head_dim]
  float *q_turned, *do_turned, *dq_turned;  ///< for each tile of queries [head_dim, width]
  float *lse, *delta;                       ///< [width] for each tile
  float *p, *dp;                            ///< [keys of a block, width]
  float* mixed;                             ///< a product before it is added or turned
  float* factor;                            ///< [width]
  void* product;
};

struct Attention::Item {
  int64_t batch, kv_head;
};

/// Which of the keys [begin, end) lie in the block of `size` keys from `first` on.
struct BlockKeys {
  int64_t begin = 0, count = 0;
};
inline BlockKeys block_keys(int64_t begin, int64_t end, int64_t first, int64_t size) {
  const int64_t from = std::max(begin, first), to = std::min(end, first + size);
  return {from, std::max<int64_t>(0, to - from)};
}

/// Rows ahead of the one in hand that are asked for: strided rows seldom lie in a near cache.
inline constexpr int64_t kRowsAhead = 8;

/// Asks for the cache lines of `row`.
inline void ask_for(const float* row, int64_t width) {
  for (int64_t i = 0; i < width; i += 16) __builtin_prefetch(row + i);
}
inline void ask_to_write(float* row, int64_t width) {
  for (int64_t i = 0; i < width; i += 16) __builtin_prefetch(row + i, 1);
}

/// rows x width from rows `stride` apart to dense rows, and back.
inline void gather_rows(float* dense, const float* from, int64_t stride, int64_t rows,
                        int64_t width) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(width);
  for (int64_t r = 0; r < rows; ++r) {
    if (r + kRowsAhead < rows) ask_for(from + (r + kRowsAhead) * stride, width);
    std::memcpy(dense + r * width, from + r * stride, bytes);
  }
}
inline void scatter_rows(float* to, int64_t stride, const float* dense, int64_t rows,
                         int64_t width) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(width);
  for (int64_t r = 0; r < rows; ++r) {
    if (r + kRowsAhead < rows) ask_to_write(to + (r + kRowsAhead) * stride, width);
    std::memcpy(to + r * stride, dense + r * width, bytes);
  }
}

inline int64_t offset(const AttentionView& view, int64_t batch, int64_t position, int64_t head) {
  return batch * view.batch + position * view.position + head * view.head;
}

}  // namespace levanter::cpu
