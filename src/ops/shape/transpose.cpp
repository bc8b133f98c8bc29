// The same axes in another order, without a copy. axes: the order.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  if (a.axes.size() != in[0].axes.size() || !is_subset(in[0].axes, a.axes))
    type_error(cat(to_string(a.axes), " is not an order of ", to_string(in[0].axes)));
  return {Type{in[0].dtype, a.axes}};
}

View view(const Node& node, const View& in, size_t) {
  View out{node.attributes.axes, {}, in.offset};
  for (size_t i = 0; i < out.axes.size(); ++i)
    out.strides[i] = in.strides[static_cast<size_t>(in.axes.find(out.axes[i].name))];
  return out;
}

void gradient(GradientCall& call) {
  call.input_cotangents[0] = reorder(call.output_cotangents[0], call.inputs[0].axes());
}

}  // namespace

namespace ops {
const Op transpose_entry = {.name = "transpose",
                            .summary = "the same axes in another order",
                            .infer = infer,
                            .gradient = gradient,
                            .view = view};
}  // namespace ops

NamedArray transpose(Operand x, const Axes& order) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::transpose_entry, Attributes{.axes = order}, in, x.where);
}

}  // namespace levanter
