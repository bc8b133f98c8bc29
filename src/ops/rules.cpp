// Small helpers that gradient rules and decompositions share.
#include "ops/rules.h"

#include <algorithm>

#include "base/strings.h"
#include "ops/ops.h"

namespace levanter {

NamedArray zero_like(NamedArray x) { return constant(x.graph(), 0, x.dtype()); }

NamedArray sum_to(NamedArray g, const Axes& axes) {
  const Axes extra = without(g.axes(), axes);
  return extra.empty() ? g : sum(g, extra);
}

NamedArray reorder(NamedArray x, const Axes& axes) {
  return x.axes() == axes ? x : transpose(x, axes);
}

NamedArray widen(NamedArray x) { return cast(x, widened(x.dtype())); }

std::optional<Fusion> fuse_elementwise(const Node& node, std::span<const Type>) {
  return Fusion{.space = node.outputs[0].axes};
}

bool ends_with(const Axes& axes, const Axes& last) {
  if (last.empty() || last.size() > axes.size()) return false;
  return std::equal(last.begin(), last.end(), axes.end() - last.size());
}

Attributes matrix_attributes(NamedArray x, AxisName row, AxisName column) {
  const int64_t columns = x.axes().contains(column) ? x.axes().size_of(column) : 0;
  return {.axis = row, .axes = {{column, columns}}};
}

Axis require_matrix(const Attributes& attributes, std::span<const Type> operands) {
  require_wide_floats(operands, 1);
  const Axis column = attributes.axes[0];
  for (const AxisName name : {attributes.axis, column.name})
    if (!operands[0].axes.contains(name)) type_error(cat("there is no axis ", name.text()));
  if (attributes.axis == column.name)
    type_error(cat("rows and columns are one axis, ", column.name.text()));
  return column;
}

void require_floats(std::span<const Type> operands, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (!is_float(operands[i].dtype) || operands[i].dtype != operands[0].dtype)
      type_error("the operands are not of one floating type");
}

void require_wide_floats(std::span<const Type> operands, size_t count) {
  require_floats(operands, count);
  if (count > 0 && operands[0].dtype == DType::bf16) type_error("bf16 where f32 is needed");
}

}  // namespace levanter
