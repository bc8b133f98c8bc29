// Sums of squares over all axes but one. axis: that which is left.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  require_wide_floats(in, 1);
  const int at = in[0].axes.find(a.axis);
  if (at < 0) type_error(cat("there is no axis ", a.axis.text()));
  return {Type{in[0].dtype, {in[0].axes[static_cast<size_t>(at)]}}};
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const NamedArray square = in[0] * in[0];
  const Axes others = without(square.axes(), node.attributes.axis);
  return {others.empty() ? square : sum(square, others)};
}

Cost cost(const Node&, std::span<const Type> in) {
  return {2.0 * static_cast<double>(in[0].elements())};
}

}  // namespace

namespace ops {
const Op sum_squares_entry = {.name = "sum_squares",
                              .summary = "the sums of squares over all axes but one",
                              .infer = infer,
                              .decompose = decompose,
                              .cost = cost};
}  // namespace ops

NamedArray sum_squares(Operand x, AxisName kept) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::sum_squares_entry, Attributes{.axis = kept}, in, x.where);
}

}  // namespace levanter
