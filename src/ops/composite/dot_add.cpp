// acc + the product of two values: the product is complete before it is added, once.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  if (in[1].dtype != in[2].dtype || in[0].dtype != widened(in[1].dtype))
    type_error("operands of two types");
  if (!is_subset(intersect(in[1].axes, in[2].axes), in[2].axes))
    type_error("a shared axis has two sizes");
  const Axes all = unite(in[1].axes, in[2].axes);
  if (!is_subset(in[0].axes, all)) type_error("acc has an axis that the product lacks");
  for (const Axis& axis : without(all, in[0].axes))
    if (!in[1].axes.contains(axis.name) || !in[2].axes.contains(axis.name))
      type_error(
          cat("the axis ", axis.name.text(), " would be summed but only one operand has it"));
  return {in[0]};
}

std::vector<NamedArray> decompose(Graph&, const Node&, std::span<const NamedArray> in) {
  return {in[0] + dot(in[1], in[2], in[0].axes())};
}

void gradient(GradientCall& call) {
  call.input_cotangents[0] = call.output_cotangents[0];
  const NamedArray g = cast(call.output_cotangents[0], call.inputs[1].dtype());
  if (call.wanted[1]) call.input_cotangents[1] = dot(g, call.inputs[2], call.inputs[1].axes());
  if (call.wanted[2]) call.input_cotangents[2] = dot(call.inputs[1], g, call.inputs[2].axes());
}

Cost cost(const Node&, std::span<const Type> in) {
  return {2.0 * static_cast<double>(unite(in[1].axes, in[2].axes).elements())};
}

}  // namespace

namespace ops {
const Op dot_add_entry = {.name = "dot_add",
                          .summary = "a product added to an accumulator",
                          .infer = infer,
                          .gradient = gradient,
                          .decompose = decompose,
                          .cost = cost,
                          .save_class = SaveClass::kDot};
}  // namespace ops

NamedArray dot_add(Operand acc, NamedArray a, NamedArray b) {
  const NamedArray in[] = {acc.array, a, b};
  return acc.array.graph().add(ops::dot_add_entry, Attributes{}, in, acc.where);
}

}  // namespace levanter
