// Products that do not go to oneDNN in one call as they are: cut into parts, or of widened factors.
#pragma once

#include <optional>
#include <vector>

#include "kernels/cpu/onednn.h"

namespace levanter::cpu {

/// The largest product that goes to oneDNN in one call, if there is such a limit.
///
/// oneDNN's products of bf16 by AMX are cut along k where the extents and the layout of the factors
/// say, the sums of the pieces rounded to f32 in between; so a tile would have other bits with a
/// packed B than with a plain one. Within these extents it cuts none that was tried, whatever the
/// layout. Of a product of bf16 whose factors are widened to f32 first, they stay in the cache
/// until they are read. Of other products nothing is cut: what is packed of them follows from their
/// extents.
std::optional<ProductLimits> product_limits(DType factors, Bf16Way way);

/// A part as a product of f32, of factors that lie in the same order without gaps.
ProductShape widened(const ProductShape& part);

/// Where the parts of an extent begin, and where the last one ends: as few as the limit allows,
/// of about one size, multiples of 32, in which AMX goes along k.
std::vector<int64_t> cuts(int64_t extent, int64_t limit);

/// One call: A's rows from `row` on and columns from `begin`, B's rows from `begin` and columns
/// from `column`. The result is dense; it is added to what parts with an earlier `begin` gave.
struct ProductPart {
  ProductShape shape;
  int64_t row = 0, column = 0, begin = 0;
};

/// The parts of a product: by columns, then along k, then by rows, so that what is packed of B does
/// not depend on the rows. The cuts along k follow from k alone. One part that is the product
/// itself where it is within the limits.
std::vector<ProductPart> product_parts(const ProductShape& shape, const ProductLimits& limits);

/// Rows of a matrix, or its columns where those are without gaps.
struct Lines {
  int64_t count = 0, length = 0, stride = 0;
};
/// Of a matrix of which one stride is 1.
Lines lines(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride);

/// Copies lines without gaps between them; of bf16, and as f32, where it `widens`.
void copy_lines(void* to, const void* from, const Lines& lines, DType type, bool widens);

}  // namespace levanter::cpu
