// The product of two values summed over shared axes; of bf16 factors in f32. axes: the result's, in
// order.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  if (in[0].dtype != in[1].dtype) type_error("operands of two types");
  if (!is_subset(intersect(in[0].axes, in[1].axes), in[1].axes))
    type_error("a shared axis has two sizes");
  const Axes all = unite(in[0].axes, in[1].axes);
  if (!is_subset(a.axes, all))
    type_error(cat("the result's axes ", to_string(a.axes), " are not all in the operands"));
  for (const Axis& axis : without(all, a.axes))
    if (!in[0].axes.contains(axis.name) || !in[1].axes.contains(axis.name))
      type_error(
          cat("the axis ", axis.name.text(), " would be summed but only one operand has it"));
  return {Type{widened(in[0].dtype), a.axes}};
}

void gradient(GradientCall& call) {
  const NamedArray g = cast(call.output_cotangents[0], call.inputs[0].dtype());
  for (size_t i = 0; i < 2; ++i)
    if (call.wanted[i]) {
      // Axes that only this operand and the sum had cannot occur: a summed axis is shared.
      const NamedArray other = call.inputs[1 - i];
      const Axes& axes = call.inputs[i].axes();
      call.input_cotangents[i] = i == 0 ? dot(g, other, axes) : dot(other, g, axes);
    }
}

Cost cost(const Node&, std::span<const Type> in) {
  return {2.0 * static_cast<double>(unite(in[0].axes, in[1].axes).elements())};
}

std::optional<Fusion> fusion(const Node& node, std::span<const Type> in) {
  if (in[1].elements() == 0 || in[0].axes.empty() || in[1].axes.empty()) return std::nullopt;
  return Fusion{.space = node.outputs[0].axes, .product = true};
}

}  // namespace

namespace ops {
const Op dot_entry = {.name = "dot",
                      .summary = "a product summed over shared axes",
                      .infer = infer,
                      .gradient = gradient,
                      .cost = cost,
                      .save_class = SaveClass::kDot,
                      .fusion = fusion};
}  // namespace ops

NamedArray dot(Operand a, NamedArray b, const Axes& out) {
  const NamedArray in[] = {a.array, b};
  return a.array.graph().add(ops::dot_entry, Attributes{.axes = out}, in, a.where);
}

}  // namespace levanter
