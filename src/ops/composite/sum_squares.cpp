// The sum of all squares, over the other axes first and over the shard axis last. axis: the shard
// axis.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  require_wide_floats(in, 1);
  if (!in[0].axes.empty() && !in[0].axes.contains(a.axis))
    type_error(cat("there is no axis ", a.axis.text()));
  return {Type{in[0].dtype, {}}};
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const NamedArray square = in[0] * in[0];
  const Axes others = without(square.axes(), node.attributes.axis);
  const NamedArray partial = others.empty() ? square : sum(square, others);
  return {partial.axes().empty() ? partial : sum(partial, partial.axes())};
}

Cost cost(const Node&, std::span<const Type> in) {
  return {2.0 * static_cast<double>(in[0].elements())};
}

}  // namespace

namespace ops {
const Op sum_squares_entry = {.name = "sum_squares",
                              .summary = "the sum of squares, shard axis last",
                              .infer = infer,
                              .decompose = decompose,
                              .cost = cost};
}  // namespace ops

NamedArray sum_squares(Operand x, AxisName shard) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::sum_squares_entry, Attributes{.axis = shard}, in, x.where);
}

}  // namespace levanter
