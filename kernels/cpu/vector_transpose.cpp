// Transposition of matrices, in blocks of sixteen by sixteen, and factors packed for a tile unit.
// Plain twins: kernels/reference/copy.cpp; the loops in tests/kernels/cpu_tile_product_test.cpp.
#include "kernels/cpu/vector_isa.h"
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

constexpr int64_t kBlock = 16;

template <class T>
[[gnu::always_inline]] inline void any_block(T* y, int64_t y_row, const T* x, int64_t x_row,
                                             int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) y[c * y_row + r] = x[r * x_row + c];
}

#if defined(__AVX512BW__) && defined(__AVX512VL__)
template <class T>
struct Sixteen {
  typedef T Row __attribute__((vector_size(kBlock * sizeof(T))));
};

/// Four rounds of interleaving row i with row i + 8 transpose sixteen rows.
template <class T>
[[gnu::always_inline]] inline void whole_block(T* y, int64_t y_row, const T* x, int64_t x_row) {
  using Row = typename Sixteen<T>::Row;
  Row a[kBlock], b[kBlock];
#pragma GCC unroll 16
  for (int i = 0; i < kBlock; ++i) __builtin_memcpy(&a[i], x + i * x_row, sizeof(Row));
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21,
                                         6, 22, 7, 23);
      b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                             13, 29, 14, 30, 15, 31);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kBlock; ++i) a[i] = b[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kBlock; ++i) __builtin_memcpy(y + i * y_row, &a[i], sizeof(Row));
}
#else
template <class T>
[[gnu::always_inline]] inline void whole_block(T* y, int64_t y_row, const T* x, int64_t x_row) {
  any_block(y, y_row, x, x_row, kBlock, kBlock);
}
#endif

/// Sixteen columns of x at a time, downwards: the rows of y that they become are written in order.
template <class T>
[[gnu::always_inline]] inline void transpose(T* y, int64_t y_row, const T* x, int64_t x_row,
                                             int64_t rows, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kBlock) {
    const int64_t width = columns - c < kBlock ? columns - c : kBlock;
    for (int64_t r = 0; r < rows; r += kBlock) {
      const int64_t height = rows - r < kBlock ? rows - r : kBlock;
      T* const to = y + c * y_row + r;
      const T* const from = x + r * x_row + c;
      if (width == kBlock && height == kBlock) {
        whole_block(to, y_row, from, x_row);
      } else {
        any_block(to, y_row, from, x_row, height, width);
      }
    }
  }
}

void transpose_2(uint16_t* y, int64_t y_row, const uint16_t* x, int64_t x_row, int64_t rows,
                 int64_t columns) {
  transpose(y, y_row, x, x_row, rows, columns);
}

void transpose_4(uint32_t* y, int64_t y_row, const uint32_t* x, int64_t x_row, int64_t rows,
                 int64_t columns) {
  transpose(y, y_row, x, x_row, rows, columns);
}

constexpr int64_t kSide = 2 * kBlock;  ///< of a step of a panel, whose pairs of k are words

/// A step of a panel, all of whose lines are there: two tiles.
[[gnu::always_inline]] inline void pack_step(uint32_t* to, const uint16_t* from, int64_t stride,
                                             bool k_adjacent, bool turned) {
  uint32_t words[kSide * kBlock];
  uint32_t* const gathered = turned ? words : to;
#pragma GCC unroll 16
  for (int i = 0; i < kBlock; ++i)
#pragma GCC unroll 2
    for (int64_t tile = 0; tile < 2; ++tile) {
      uint32_t* const at = gathered + (kBlock * tile + i) * kBlock;
      if (k_adjacent) {  // a line is a row or column
        __builtin_memcpy(at, from + (kBlock * tile + i) * stride, sizeof(uint16_t) * kSide);
      } else {  // two lines are a pair
        const uint16_t* const even = from + 2 * i * stride + kBlock * tile;
        store(at, load_halves(even) | load_halves(even + stride) << 16);
      }
    }
  if (!turned) return;
  for (int64_t tile = 0; tile < kSide * kBlock; tile += kBlock * kBlock)
    whole_block(to + tile, kBlock, words + tile, kBlock);
}

/// Asks for a step's lines, which lie too far apart for the processor to foresee.
[[gnu::always_inline]] inline void ask_for_step(const uint16_t* from, int64_t stride) {
#pragma GCC unroll 32
  for (int64_t line = 0; line < kSide; ++line) fetch_ahead(from + line * stride);
}

[[gnu::always_inline]] inline int64_t at_most(int64_t count, int64_t most) {
  return count < most ? count : most;
}

template <MatrixOrder order>
void pack_panels(const PanelPacking& p) {
  constexpr bool k_adjacent = order == MatrixOrder::kColumns;
  // Where a line goes through panels, those that share its pages are written together.
  constexpr int64_t kTogether = k_adjacent ? 1 : 4;
  const int64_t steps = (p.k + kSide - 1) / kSide;
  for (int64_t first = p.begin; first < p.end; first += kTogether) {
    const int64_t end = at_most(p.end, first + kTogether);
    for (int64_t s = 0; s < steps; ++s)
      for (int64_t panel = first; panel < end; ++panel) {
        const int64_t line = k_adjacent ? panel : s, place = k_adjacent ? s : panel;
        const int64_t width = at_most(p.extent - panel * kSide, kSide);
        const int64_t depth = at_most(p.k - s * kSide, kSide);
        const int64_t lines = k_adjacent ? width : depth, length = k_adjacent ? depth : width;
        auto* const to = static_cast<uint32_t*>(p.to) + (panel * steps + s) * kSide * kBlock;
        const auto* from = static_cast<const uint16_t*>(p.from) + (line * p.stride + place) * kSide;
        int64_t stride = p.stride;
        if (lines == kSide && (s + 2) * kSide <= p.k)
          ask_for_step(from + (k_adjacent ? kSide : kSide * stride), stride);
        uint16_t part[kSide * kSide];
        if (lines < kSide || length < kSide) {
          __builtin_memset(part, 0, sizeof part);
          for (int64_t i = 0; i < lines; ++i)
            __builtin_memcpy(part + i * kSide, from + i * stride,
                             sizeof(uint16_t) * static_cast<size_t>(length));
          from = part;
          stride = kSide;
        }
        pack_step(to, from, stride, k_adjacent, k_adjacent != (p.side == FactorSide::kA));
      }
  }
}

}  // namespace

void fill_transpose(VectorKernels& table) {
  table.transpose_2 = transpose_2;
  table.transpose_4 = transpose_4;
  table.pack_panels[0] = pack_panels<MatrixOrder::kRows>;
  table.pack_panels[1] = pack_panels<MatrixOrder::kColumns>;
}

}  // namespace levanter::cpu::LEVANTER_ISA
