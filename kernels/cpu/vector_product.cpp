// Products of matrices that fit the second-level cache, as they lie, from sums in registers.
// Plain twin: kernels/reference/dot.cpp.
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {

#if defined(__AVX512F__)
namespace {

// Sums that registers hold besides what is multiplied: rows, and vectors of columns.
constexpr int kRows = 12, kVectors = 2;
constexpr int kFewRows = 4;

[[gnu::always_inline]] inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/// R rows and V vectors of columns of C, the last of them whole, or of `last` columns.
template <int R, int V, bool kWhole>
void run_block(const ChainProduct& p, int64_t row, int64_t column, int64_t last) {
  const int64_t counts[2] = {kLanes, kWhole ? kLanes : last};
  Floats sum[R][V];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[r][v] = splat(0.0f);
  // Rows of A by threes: three addresses that one register and the stride make.
  constexpr int kGroups = (R + 2) / 3;
  const float* a[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) a[g] = p.a + (row + 3 * g) * p.a_row;
  const float* b = p.b + column;
  for (int64_t k = 0; k < p.k; ++k, b += p.b_row) {
    Floats theirs[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) theirs[v] = load_up_to(b + v * kLanes, counts[v + 1 == V]);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const Floats own = splat(a[r / 3][r % 3 * p.a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(own, theirs[v], sum[r][v]);
    }
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) ++a[g];
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      store_up_to(p.c + (row + r) * p.c_row + column + v * kLanes, sum[r][v], counts[v + 1 == V]);
}

template <int V, bool kWhole>
void run_columns(const ChainProduct& p, int64_t column, int64_t last) {
  int64_t row = 0;
  for (; row + kRows <= p.rows; row += kRows) run_block<kRows, V, kWhole>(p, row, column, last);
  for (; row + kFewRows <= p.rows; row += kFewRows)
    run_block<kFewRows, V, kWhole>(p, row, column, last);
  for (; row < p.rows; ++row) run_block<1, V, kWhole>(p, row, column, last);
}

void chain_product(const ChainProduct& p) {
  int64_t column = 0;
  for (; column + kVectors * kLanes <= p.columns; column += kVectors * kLanes)
    run_columns<kVectors, true>(p, column, kLanes);
  if (column + kLanes <= p.columns) {
    run_columns<1, true>(p, column, kLanes);
    column += kLanes;
  }
  if (column < p.columns) run_columns<1, false>(p, column, p.columns - column);
}

}  // namespace

void fill_product(VectorKernels& table) { table.chain_product = chain_product; }
#else
void fill_product(VectorKernels&) {}
#endif

}  // namespace levanter::cpu::LEVANTER_ISA
