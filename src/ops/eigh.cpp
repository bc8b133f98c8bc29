// Eigenvalues and eigenvectors of symmetric matrices. axis: of their rows; axes: of their columns.
#include "base/strings.h"
#include "ops/entries.h"
#include "ops/ops.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Axis column = require_matrix(a, in);
  const int64_t rows = in[0].axes.size_of(a.axis);
  if (rows != column.size)
    type_error(cat("a matrix of ", rows, " ", a.axis.text(), " by ", column.size, " ",
                   column.name.text(), " is not symmetric"));
  Axes values = without(without(in[0].axes, a.axis), column.name);
  values.push_back(column);
  return {Type{in[0].dtype, values}, in[0]};
}

/// About: to tridiagonal form 4/3 n^3, its rotations 5 n^3, back 2 n^3.
Cost cost(const Node& node, std::span<const Type> in) {
  const auto n = static_cast<double>(node.attributes.axes[0].size);
  return {25.0 / 3 * n * static_cast<double>(in[0].axes.elements())};
}

}  // namespace

namespace ops {
const Op eigh_entry = {.name = "eigh",
                       .summary = "eigenvalues and eigenvectors of symmetric matrices",
                       .infer = infer,
                       .cost = cost,
                       .save_class = SaveClass::kDot};
}  // namespace ops

Eigh eigh(Operand x, AxisName row, AxisName column) {
  const NamedArray in[] = {x.array};
  const NamedArray values =
      x.array.graph().add(ops::eigh_entry, matrix_attributes(x.array, row, column), in, x.where);
  return {values, NamedArray(values.graph(), Value{values.value().node, 1})};
}

}  // namespace levanter
