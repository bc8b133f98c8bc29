// exp(x - max) over its own sum. axis: the axis.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  require_floats(in, 1);
  if (!in[0].axes.contains(a.axis)) type_error(cat("there is no axis ", a.axis.text()));
  return {in[0]};
}

Axes over(const Node& node, NamedArray x) {
  const AxisName axis = node.attributes.axis;
  return {{axis, x.axes().size_of(axis)}};
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const Axes axis = over(node, in[0]);
  const NamedArray e = exp(in[0] - reduce(Reduce::kMax, in[0], axis));
  return {e / sum(e, axis)};
}

void gradient(GradientCall& call) {
  const NamedArray y = widen(call.outputs[0]), gy = widen(call.output_cotangents[0]) * y;
  call.input_cotangents[0] = gy - y * sum(gy, over(call.node, y));
}

Cost cost(const Node& node, std::span<const Type>) {
  return {5.0 * static_cast<double>(node.outputs[0].elements())};
}

}  // namespace

namespace ops {
const Op softmax_entry = {.name = "softmax",
                          .summary = "exp(x - max) over its own sum",
                          .infer = infer,
                          .gradient = gradient,
                          .decompose = decompose,
                          .cost = cost};
}  // namespace ops

NamedArray softmax(Operand x, AxisName axis) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::softmax_entry, Attributes{.axis = axis}, in, x.where);
}

}  // namespace levanter
