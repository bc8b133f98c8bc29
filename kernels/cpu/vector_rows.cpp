// Rows that lie apart: copies, roundings and dot products of many at once.
// Plain twins: kernels/reference/copy.cpp, cast.cpp and dot.cpp.
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

/// Rows ahead of the one in hand that are asked for: rows that lie apart seldom lie in a near
/// cache.
constexpr int64_t kRowsAhead = 8;

/// Asks for the lines of a row that is to be read, or written: a store reads its line first.
template <class T>
[[gnu::always_inline]] inline void ask_for(const T* row, int64_t width) {
  constexpr auto kLine = kLineBytes / static_cast<int64_t>(sizeof(T));
  for (int64_t c = 0; c < width; c += kLine) fetch_ahead(row + c);
}

template <class T>
void copy_rows(T* y, int64_t y_row, const T* a, int64_t a_row, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, y += y_row, a += a_row) {
    if (r + kRowsAhead < rows) {
      ask_for(a + kRowsAhead * a_row, width);
      ask_for(y + kRowsAhead * y_row, width);
    }
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) __builtin_memcpy(y + c, a + c, sizeof(T) * kLanes);
    if (c < width) __builtin_memcpy(y + c, a + c, sizeof(T) * static_cast<size_t>(width - c));
  }
}

void narrow_rows(uint16_t* y, int64_t y_row, const float* a, int64_t a_row, int64_t rows,
                 int64_t width) {
  for (int64_t r = 0; r < rows; ++r, y += y_row, a += a_row) {
    if (r + kRowsAhead < rows) ask_for(y + kRowsAhead * y_row, width);
    for_vectors(width, [=](int64_t c, int64_t count) {
      store_up_to(y + c, load_up_to(a + c, count), count);
    });
  }
}

template <class T>
void dot_rows(float* y, const T* a, int64_t a_row, const T* b, int64_t b_row, int64_t rows,
              int64_t width) {
  for (int64_t r = 0; r < rows; ++r, a += a_row, b += b_row) {
    if (r + kRowsAhead < rows) ask_for(b + kRowsAhead * b_row, width);
    y[r] = sum_vectors(width, [=](int64_t c, int64_t count) {
      return load_up_to(a + c, count) * load_up_to(b + c, count);
    });
  }
}

}  // namespace

void fill_rows(VectorKernels& table) {
  table.copy_rows = copy_rows<float>;
  table.copy_rows_bf16 = copy_rows<uint16_t>;
  table.narrow_rows = narrow_rows;
  table.dot_rows = dot_rows<float>;
  table.dot_rows_bf16 = dot_rows<uint16_t>;
}

}  // namespace levanter::cpu::LEVANTER_ISA
