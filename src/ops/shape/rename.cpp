// An axis under another name. axis: the old name; axes: one axis, the new one.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  if (!in[0].axes.contains(a.axis)) type_error(cat("there is no axis ", a.axis.text()));
  if (in[0].axes.contains(a.axes[0].name))
    type_error(cat("there is an axis ", a.axes[0].name.text(), " already"));
  return {Type{in[0].dtype, replace(in[0].axes, a.axis, a.axes)}};
}

View view(const Node& node, const View& in, size_t output) {
  return {node.outputs[output].axes, in.strides, in.offset};
}

void gradient(GradientCall& call) {
  const Attributes& a = call.node.attributes;
  call.input_cotangents[0] = rename(call.output_cotangents[0], a.axes[0].name, a.axis);
}

}  // namespace

namespace ops {
const Op rename_entry = {.name = "rename",
                         .summary = "an axis under another name",
                         .infer = infer,
                         .gradient = gradient,
                         .view = view};
}  // namespace ops

NamedArray rename(Operand x, AxisName from, AxisName to) {
  const int at = x.array.axes().find(from);
  const int64_t size = at < 0 ? 0 : x.array.axes()[static_cast<size_t>(at)].size;
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::rename_entry, Attributes{.axis = from, .axes = {{to, size}}}, in,
                             x.where);
}

}  // namespace levanter
