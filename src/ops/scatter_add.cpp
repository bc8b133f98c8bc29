// Updates added into zeros at an index, in the order of their position. axis: the axis; axes: the
// result's.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Axes &updates = in[0].axes, &index = in[1].axes;
  if (in[0].dtype == DType::bf16) type_error("updates are added in f32, not in bf16");
  if (in[1].dtype != DType::i32) type_error("the index is not i32");
  if (!a.axes.contains(a.axis)) type_error(cat("the result has no axis ", a.axis.text()));
  if (updates.contains(a.axis))
    type_error(cat("the updates have the axis ", a.axis.text(), " themselves"));
  if (!is_subset(index, updates)) type_error("the index has an axis that the updates lack");
  if (!is_subset(without(a.axes, a.axis), updates))
    type_error(cat("the updates lack an axis of ", to_string(a.axes)));
  return {Type{in[0].dtype, a.axes}};
}

void gradient(GradientCall& call) {
  const NamedArray g = gather(call.output_cotangents[0], call.node.attributes.axis, call.inputs[1]);
  call.input_cotangents[0] = broadcast(g, call.inputs[0].axes());  // over axes that were summed
}

Cost cost(const Node&, std::span<const Type> in) { return {static_cast<double>(in[0].elements())}; }

}  // namespace

namespace ops {
const Op scatter_add_entry = {.name = "scatter_add",
                              .summary = "updates added into zeros at an index",
                              .infer = infer,
                              .gradient = gradient,
                              .cost = cost};
}  // namespace ops

NamedArray scatter_add(Operand updates, const Axes& axes, AxisName axis, NamedArray index) {
  const NamedArray in[] = {updates.array, index};
  return updates.array.graph().add(ops::scatter_add_entry, Attributes{.axis = axis, .axes = axes},
                                   in, updates.where);
}

}  // namespace levanter
