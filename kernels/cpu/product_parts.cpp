// Products that do not go to oneDNN in one call as they are: cut into parts, or of widened factors.
// Plain twin: kernels/reference/dot.cpp.
#include "kernels/cpu/product_parts.h"

#include <algorithm>
#include <cstring>

#include "base/integers.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

/// What was tried on Sapphire Rapids with oneDNN 2.6.3: up to 130 rows, 384 columns and 1,056 of k.
constexpr ProductLimits kAmxLimits{128, 384, 1024};
constexpr ProductLimits kWidenedLimits{256, 384, 1024};

}  // namespace

std::vector<int64_t> cuts(int64_t extent, int64_t limit) {
  constexpr int64_t kStep = 32;
  const int64_t parts = ceil_div(extent, limit);
  int64_t size = ceil_div(extent, parts);
  size = std::min(limit, round_up(size, kStep));
  std::vector<int64_t> at;
  for (int64_t begin = 0; begin < extent; begin += size) at.push_back(begin);
  at.push_back(extent);
  return at;
}

std::optional<ProductLimits> product_limits(DType factors, Bf16Way way) {
  if (factors != DType::bf16) return std::nullopt;
  if (way == Bf16Way::kWidened) return kWidenedLimits;
  return way == Bf16Way::kTiles ? std::optional(kAmxLimits) : std::nullopt;
}

ProductShape widened(const ProductShape& part) {
  ProductShape shape = part;
  shape.factors = DType::f32;
  if (part.a_col == 1)
    shape.a_row = part.k;
  else
    shape.a_col = part.m;
  if (part.b_col == 1)
    shape.b_row = part.n;
  else
    shape.b_col = part.k;
  return shape;
}

std::vector<ProductPart> product_parts(const ProductShape& shape, const ProductLimits& limits) {
  if (shape.m <= limits.m && shape.n <= limits.n && shape.k <= limits.k) return {{shape}};
  const std::vector<int64_t> rows = cuts(shape.m, limits.m), columns = cuts(shape.n, limits.n),
                             along = cuts(shape.k, limits.k);
  std::vector<ProductPart> parts;
  for (size_t c = 0; c + 1 < columns.size(); ++c)
    for (size_t k = 0; k + 1 < along.size(); ++k)
      for (size_t r = 0; r + 1 < rows.size(); ++r) {
        ProductPart part{shape, rows[r], columns[c], along[k]};
        part.shape.m = rows[r + 1] - rows[r];
        part.shape.n = columns[c + 1] - columns[c];
        part.shape.k = along[k + 1] - along[k];
        part.shape.c_row = part.shape.n;
        // Rows that are apart would go another way, which takes no packed B: A is copied together.
        if (shape.a_col == 1) part.shape.a_row = part.shape.k;
        parts.push_back(part);
      }
  return parts;
}

Lines lines(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  if (column_stride == 1) return {rows, columns, row_stride};
  return {columns, rows, column_stride};
}

void copy_lines(void* to, const void* from, const Lines& lines, DType type, bool widens) {
  const int64_t size = size_of(type);
  for (int64_t i = 0; i < lines.count; ++i) {
    const char* const line = static_cast<const char*>(from) + i * lines.stride * size;
    if (widens)
      vector_kernels().widen(static_cast<float*>(to) + i * lines.length,
                             reinterpret_cast<const uint16_t*>(line), lines.length);
    else
      std::memcpy(static_cast<char*>(to) + i * lines.length * size, line,
                  static_cast<size_t>(lines.length * size));
  }
}

}  // namespace levanter::cpu
