// The orthonormal factor of matrices. axis: of their rows; axes: of their columns.
#include "base/strings.h"
#include "ops/entries.h"
#include "ops/ops.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Axis column = require_matrix(a, in);
  const int64_t rows = in[0].axes.size_of(a.axis);
  if (rows < column.size)
    type_error(cat("a matrix of ", rows, " ", a.axis.text(), " by ", column.size, " ",
                   column.name.text(), " has no ", column.size, " orthonormal columns"));
  return {in[0]};
}

/// Reflections into R, then their product, each 2 (rows columns^2 - columns^3 / 3).
Cost cost(const Node& node, std::span<const Type> in) {
  const auto columns = static_cast<double>(node.attributes.axes[0].size);
  const auto elements = static_cast<double>(in[0].axes.elements());
  const auto rows = static_cast<double>(in[0].axes.size_of(node.attributes.axis));
  return {4 * elements * columns * (1 - columns / rows / 3)};
}

}  // namespace

namespace ops {
const Op qr_entry = {.name = "qr",
                     .summary = "the orthonormal factor of matrices",
                     .infer = infer,
                     .cost = cost,
                     .save_class = SaveClass::kDot};
}  // namespace ops

NamedArray qr(Operand x, AxisName row, AxisName column) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::qr_entry, matrix_attributes(x.array, row, column), in, x.where);
}

}  // namespace levanter
