// Products of a few rows (small M, as in a GEMV) with a matrix that is read once, as fast as memory
// gives it.
// Plain twin: kernels/reference/dot.cpp.
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

/// Columns of one row of y up to which rows of w that lie without gaps are added one by one: w is
/// one run of memory, up to a quarter quicker to read than several. Wider rows of y leave the first
/// cache meanwhile. Measured on Zen 4.
constexpr int64_t kNearColumns = 1536;
/// Rows of w that are read side by side otherwise: y is read and written once for all of them.
constexpr int kRowsTogether = 8;
/// Rows of x that a column of w meets while it passes. Columns go one by one: w is then one run of
/// memory from its beginning to its end, twice as quick to read as four runs.
constexpr int64_t kRowGroup = 4;
/// Bytes of w beyond the element in hand that are on their way to the second cache. What the
/// processor fetches ahead by itself ends at each page.
constexpr int64_t kAhead = 2048;

/// Adds K rows of w from `k` on, in order, to y.
template <int K, class T>
void add_rows_of(const SmallMProduct& p, int64_t k) {
  const T* w = static_cast<const T*>(p.w) + k * p.w_stride;
  const auto add = [&](int64_t c, int64_t count) __attribute__((always_inline)) {
    Floats theirs[K];
#pragma GCC unroll 8
    for (int i = 0; i < K; ++i) {
      fetch_ahead(w + (K + i) * p.w_stride + c);  // of the next rows
      theirs[i] = load_up_to(w + i * p.w_stride + c, count);
    }
    for (int64_t row = 0; row < p.rows; ++row) {
      const float* x = p.x + row * p.x_row + k;
      float* y = p.y + row * p.y_row + c;
      Floats sum = load_up_to(y, count);
#pragma GCC unroll 8
      for (int i = 0; i < K; ++i) sum = sum + splat(x[i]) * theirs[i];
      store_up_to(y, sum, count);
    }
  };
  int64_t c = 0;
  for (; c + kLanes <= p.columns; c += kLanes) add(c, kLanes);
  if (c < p.columns) add(c, p.columns - c);
}

/// Adds row k of w to the only row of y.
template <class T>
void add_row_of(const SmallMProduct& p, int64_t k) {
  const T* w = static_cast<const T*>(p.w) + k * p.w_stride;
  const Floats x = splat(p.x[k]);
  float* const y = p.y;
  for_vectors(p.columns, [=](int64_t c, int64_t count) {
    fetch_ahead(reinterpret_cast<const char*>(w + c) + kAhead);
    store_up_to(y + c, load_up_to(y + c, count) + x * load_up_to(w + c, count), count);
  });
}

template <class T>
void product_of_rows(const SmallMProduct& p) {
  for (int64_t row = 0; row < p.rows; ++row)
    __builtin_memset(p.y + row * p.y_row, 0, sizeof(float) * static_cast<size_t>(p.columns));
  if (p.rows == 1 && p.w_stride == p.columns && p.columns <= kNearColumns) {
    for (int64_t k = 0; k < p.k; ++k) add_row_of<T>(p, k);
    return;
  }
  int64_t k = 0;
  for (; k + kRowsTogether <= p.k; k += kRowsTogether) add_rows_of<kRowsTogether, T>(p, k);
  for (; k < p.k; ++k) add_rows_of<1, T>(p, k);
}

/// R rows of y by one column, each sum in four vectors of lanes.
template <int R, class T>
void products_of_column(const SmallMProduct& p, int64_t row, int64_t column) {
  const float* x = p.x + row * p.x_row;
  const T* w = static_cast<const T*>(p.w) + column * p.w_stride;
  Floats sum[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[r][v] = splat(0.0f);
  const auto add = [&](int v, int64_t k, int64_t count) __attribute__((always_inline)) {
    fetch_ahead(reinterpret_cast<const char*>(w + k) + kAhead);
    const Floats theirs = load_up_to(w + k, count);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      sum[r][v] = sum[r][v] + load_up_to(x + r * p.x_row + k, count) * theirs;
  };
  int64_t k = 0;
  for (; k + 4 * kLanes <= p.k; k += 4 * kLanes) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) add(v, k + v * kLanes, kLanes);
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    if (k >= p.k) break;
    add(v, k, p.k - k < kLanes ? p.k - k : kLanes);
    k += kLanes;
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
    p.y[(row + r) * p.y_row + column] = fold_sum((sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]));
}

template <class T>
void product_of_columns(const SmallMProduct& p) {
  for (int64_t column = 0; column < p.columns; ++column) {
    int64_t row = 0;
    for (; row + kRowGroup <= p.rows; row += kRowGroup)
      products_of_column<kRowGroup, T>(p, row, column);
    for (; row < p.rows; ++row) products_of_column<1, T>(p, row, column);
  }
}

}  // namespace

void fill_small_m(VectorKernels& table) {
  table.small_m[0] = product_of_rows<float>;
  table.small_m[1] = product_of_columns<float>;
  table.small_m_bf16[0] = product_of_rows<uint16_t>;
  table.small_m_bf16[1] = product_of_columns<uint16_t>;
}

}  // namespace levanter::cpu::LEVANTER_ISA
