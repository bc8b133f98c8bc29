// Products of bf16 by AVX512_BF16, of panels of B, with sums in registers.
// Plain twin: kernels/reference/dot.cpp; of each bit, tests/kernels/cpu_pair_product_test.cpp.
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {

#if defined(__AVX512F__)
namespace {

constexpr int kVectors = 2;  ///< of columns, which are those of a panel
constexpr int64_t kStepPairs = 16, kStepElements = 2 * kStepPairs * kVectors * kLanes;
constexpr int kRows = 8, kFewRows = 4;
constexpr int64_t kSteps = 32;  ///< of a panel that are multiplied by all rows before the next ones

/// Adds the products of a pair of each row, or of its last element, to the sums.
template <int R, int V, int kElements>
[[gnu::target("avx512bf16"), gnu::always_inline]] inline void multiply_pair(
    Floats (&sum)[R][V], const uint16_t* const (&a)[(R + 2) / 3], int64_t a_row,
    const uint16_t* b) {
  __m512i theirs[V];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) theirs[v] = _mm512_loadu_si512(b + v * kStepElements / kVectors);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    uint32_t pair = 0;
    __builtin_memcpy(&pair, a[r / 3] + r % 3 * a_row, sizeof(uint16_t) * kElements);
    const __m512i own = _mm512_set1_epi32(static_cast<int>(pair));
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      sum[r][v] = (Floats)_mm512_dpbf16_ps((__m512)sum[r][v], (__m512bh)own, (__m512bh)theirs[v]);
  }
}

/// How rows of A lie, packed or not: elements between rows, and between steps of 16 pairs.
struct RowsOfA {
  const uint16_t* first;
  int64_t row, step;
};

/// R rows and V vectors of columns, of which the last has `last`, over k from `begin` to `end`.
template <int R, int V>
[[gnu::target("avx512bf16")]] void run_pairs(const PairProduct& p, const RowsOfA& rows,
                                             const uint16_t* b, int64_t begin, int64_t end,
                                             float* c, int64_t last, bool ahead) {
  const int64_t counts[2] = {kLanes, last};
  Floats sum[R][V];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      sum[r][v] = begin == 0 && !p.continues
                      ? splat(0.0f)
                      : load_up_to(c + r * p.c_row + v * kLanes, counts[v + 1 == V]);
  constexpr int kGroups = (R + 2) / 3;
  const uint16_t* a[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g)
    a[g] = rows.first + 3 * g * rows.row + begin / (2 * kStepPairs) * rows.step;
  int64_t pairs = (end - begin) / 2;
  for (; pairs >= kStepPairs; pairs -= kStepPairs) {
    if (ahead) {
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) fetch_ahead(a[r / 3] + (r % 3 + R) * rows.row);
    }
    for (int64_t i = 0; i < kStepPairs; ++i) {
      multiply_pair<R, V, 2>(sum, a, rows.row, b);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) a[g] += 2;
      b += 2 * kLanes;
    }
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) a[g] += rows.step - 2 * kStepPairs;
    b += kStepElements - 2 * kLanes * kStepPairs;
  }
  for (int64_t i = 0; i < pairs; ++i) {
    multiply_pair<R, V, 2>(sum, a, rows.row, b);
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) a[g] += 2;
    b += 2 * kLanes;
  }
  if (end % 2 != 0) multiply_pair<R, V, 1>(sum, a, rows.row, b);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      store_up_to(c + r * p.c_row + v * kLanes, sum[r][v], counts[v + 1 == V]);
}

RowsOfA rows_of_a(const PairProduct& p, int64_t row) {
  constexpr int64_t kDepth = 2 * kStepPairs, kPanelRows = 32;
  if (p.a_row != 0) return {p.a + row * p.a_row, p.a_row, kDepth};
  const int64_t steps = (p.k + kDepth - 1) / kDepth;
  return {p.a + (row / kPanelRows * steps * kPanelRows + row % kPanelRows) * kDepth, kDepth,
          kPanelRows * kDepth};
}

template <int V>
void run_pair_columns(const PairProduct& p, const uint16_t* b, int64_t begin, int64_t end, float* c,
                      int64_t last, bool ahead) {
  int64_t row = 0;
  for (; row + kRows <= p.rows; row += kRows)
    run_pairs<kRows, V>(p, rows_of_a(p, row), b, begin, end, c + row * p.c_row, last, ahead);
  for (; row + kFewRows <= p.rows; row += kFewRows)
    run_pairs<kFewRows, V>(p, rows_of_a(p, row), b, begin, end, c + row * p.c_row, last, ahead);
  for (; row < p.rows; ++row)
    run_pairs<1, V>(p, rows_of_a(p, row), b, begin, end, c + row * p.c_row, last, ahead);
}

void pair_product(const PairProduct& p) {
  constexpr int64_t kWidth = kVectors * kLanes, kDepth = 2 * kStepPairs;
  const int64_t panel = (p.k + kDepth - 1) / kDepth * kStepElements;
  for (int64_t begin = 0; begin < p.k; begin += kSteps * kDepth) {
    const int64_t rest = p.k - begin;
    const int64_t end = begin + (rest < kSteps * kDepth ? rest : kSteps * kDepth);
    const uint16_t* b = p.b + begin / kDepth * kStepElements;
    for (int64_t column = 0; column < p.columns; column += kWidth, b += panel) {
      const int64_t columns = p.columns - column;
      const bool ahead = column == 0;  // rows of A come from afar
      float* const c = p.c + column;
      if (columns <= kLanes)
        run_pair_columns<1>(p, b, begin, end, c, columns, ahead);
      else
        run_pair_columns<kVectors>(p, b, begin, end, c,
                                   columns < kWidth ? columns - kLanes : kLanes, ahead);
    }
  }
}

}  // namespace

void fill_pairs(VectorKernels& table) { table.pair_product = pair_product; }
#else
void fill_pairs(VectorKernels&) {}
#endif

}  // namespace levanter::cpu::LEVANTER_ISA
