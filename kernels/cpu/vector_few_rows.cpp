// Products of a few rows with a matrix that is read once, as fast as memory gives it.
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

/// Rows of x that share one reading of w from the first-level cache or memory.
constexpr int64_t kRowGroup = 4;
constexpr int64_t kColumnGroup = 4;  ///< columns of w, or vectors of columns, that go together
/// Rows of w that all groups of rows take before the next ones: what stays in the cache.
constexpr int64_t kBlockK = 256;
/// Rows of w fetched ahead: each is a jump in memory that the processor does not foresee.
constexpr int64_t kAhead = 16;

[[gnu::always_inline]] inline Floats load_some(const float* p, int64_t count) {
  return load_up_to(p, count);
}
[[gnu::always_inline]] inline Floats load_some(const uint16_t* p, int64_t count) {
  if (count == kLanes) return from_bits(load_halves(p) << 16);
  uint16_t rest[kLanes] = {};
  __builtin_memcpy(rest, p, sizeof(uint16_t) * static_cast<size_t>(count));
  return from_bits(load_halves(rest) << 16);
}

/// R rows of y, V vectors of columns from `column`, the last of `count` lanes, over k in
/// [begin, end): added to what y holds, but for the first block.
template <int R, int V, class T>
void block_of_rows(const FewRowsProduct& p, int64_t row, int64_t column, int64_t count,
                   int64_t begin, int64_t end) {
  const float* x = p.x + row * p.x_row;
  const T* w = static_cast<const T*>(p.w) + begin * p.w_stride + column;
  float* y = p.y + row * p.y_row + column;
  const auto lanes = [count](int v) { return v + 1 < V ? kLanes : count; };
  Floats sum[R][V];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v)
      sum[r][v] = begin == 0 ? splat(0.0f) : load_up_to(y + r * p.y_row + v * kLanes, lanes(v));
  for (int64_t k = begin; k < end; ++k, w += p.w_stride) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const Floats column_values = load_some(w + v * kLanes, lanes(v));
      __builtin_prefetch(w + kAhead * p.w_stride + v * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r][v] = sum[r][v] + splat(x[r * p.x_row + k]) * column_values;
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store_up_to(y + r * p.y_row + v * kLanes, sum[r][v], lanes(v));
}

/// All rows of y in V vectors of columns.
template <int V, class T>
void columns_of_rows(const FewRowsProduct& p, int64_t column, int64_t count) {
  int64_t begin = 0;
  do {  // at least once: without k the sums are 0
    const int64_t end = p.k < begin + kBlockK ? p.k : begin + kBlockK;
    int64_t row = 0;
    for (; row + kRowGroup <= p.rows; row += kRowGroup)
      block_of_rows<kRowGroup, V, T>(p, row, column, count, begin, end);
    for (; row < p.rows; ++row) block_of_rows<1, V, T>(p, row, column, count, begin, end);
    begin = end;
  } while (begin < p.k);
}

template <class T>
void product_of_rows(const FewRowsProduct& p) {
  int64_t c = 0;
  for (; c + kColumnGroup * kLanes <= p.columns; c += kColumnGroup * kLanes)
    columns_of_rows<kColumnGroup, T>(p, c, kLanes);
  for (; c < p.columns; c += kLanes)
    columns_of_rows<1, T>(p, c, p.columns - c < kLanes ? p.columns - c : kLanes);
}

/// R rows of y by C columns, each the sum of one vector of lanes.
template <int R, int C, class T>
void block_of_columns(const FewRowsProduct& p, int64_t row, int64_t column) {
  const float* x = p.x + row * p.x_row;
  const T* w = static_cast<const T*>(p.w) + column * p.w_stride;
  Floats sum[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sum[r][c] = splat(0.0f);
  const auto add = [&](int64_t k, int64_t count) {
    Floats mine[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) mine[r] = load_up_to(x + r * p.x_row + k, count);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const Floats theirs = load_some(w + c * p.w_stride + k, count);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r][c] = sum[r][c] + mine[r] * theirs;
    }
  };
  int64_t k = 0;
  for (; k + kLanes <= p.k; k += kLanes) add(k, kLanes);
  if (k < p.k) add(k, p.k - k);
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) p.y[(row + r) * p.y_row + column + c] = fold_sum(sum[r][c]);
}

template <int C, class T>
void rows_of_columns(const FewRowsProduct& p, int64_t column) {
  int64_t row = 0;
  for (; row + kRowGroup <= p.rows; row += kRowGroup)
    block_of_columns<kRowGroup, C, T>(p, row, column);
  for (; row < p.rows; ++row) block_of_columns<1, C, T>(p, row, column);
}

template <class T>
void product_of_columns(const FewRowsProduct& p) {
  int64_t c = 0;
  for (; c + kColumnGroup <= p.columns; c += kColumnGroup) rows_of_columns<kColumnGroup, T>(p, c);
  for (; c < p.columns; ++c) rows_of_columns<1, T>(p, c);
}

}  // namespace

void fill_few_rows(VectorKernels& table) {
  table.few_rows[0] = product_of_rows<float>;
  table.few_rows[1] = product_of_columns<float>;
  table.few_rows_bf16[0] = product_of_rows<uint16_t>;
  table.few_rows_bf16[1] = product_of_columns<uint16_t>;
}

}  // namespace levanter::cpu::LEVANTER_ISA
