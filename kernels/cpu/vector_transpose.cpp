// Transposition of matrices, in blocks of sixteen by sixteen.
// Plain twin: kernels/reference/copy.cpp.
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

}  // namespace

void fill_transpose(VectorKernels& table) {
  table.transpose_2 = transpose_2;
  table.transpose_4 = transpose_4;
}

}  // namespace levanter::cpu::LEVANTER_ISA
