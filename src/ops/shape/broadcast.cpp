// A value seen over more axes, without a copy. axes: all axes of the result.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  if (!is_subset(in[0].axes, a.axes))
    type_error(cat("the axes ", to_string(in[0].axes), " are not among ", to_string(a.axes)));
  return {Type{in[0].dtype, a.axes}};
}

View view(const Node& node, const View& in, size_t) {
  View out{node.attributes.axes, {}, in.offset};
  for (size_t i = 0; i < out.axes.size(); ++i) {
    const int at = in.axes.find(out.axes[i].name);
    out.strides[i] = at < 0 ? 0 : in.strides[static_cast<size_t>(at)];
  }
  return out;
}

void gradient(GradientCall& call) {
  call.input_cotangents[0] = sum_to(call.output_cotangents[0], call.inputs[0].axes());
}

}  // namespace

namespace ops {
const Op broadcast_entry = {.name = "broadcast",
                            .summary = "a value repeated over more axes",
                            .infer = infer,
                            .gradient = gradient,
                            .view = view};
}  // namespace ops

NamedArray broadcast(Operand x, const Axes& axes) {
  if (x.array.axes() == axes) return x.array;
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::broadcast_entry, Attributes{.axes = axes}, in, x.where);
}

}  // namespace levanter
