// Sum, largest or smallest over named axes; of bf16 in f32.
#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& attributes, std::span<const Type> in) {
  const Axes over = ReduceAttributes::of(attributes).over;
  if (!is_subset(over, in[0].axes))
    type_error(cat("the axes ", to_string(over), " are not all in ", to_string(in[0].axes)));
  return {Type{widened(in[0].dtype), without(in[0].axes, over)}};
}

void gradient(GradientCall& call) {
  const auto [kind, over] = ReduceAttributes::of(call.node.attributes);
  const NamedArray g = call.output_cotangents[0], x = call.inputs[0];
  if (kind == Reduce::kSum) {
    call.input_cotangents[0] = broadcast(cast(g, x.dtype()), x.axes());
    return;
  }
  // The extreme elements share the cotangent equally.
  const NamedArray at = map(Map::kEqual, widen(x), call.outputs[0]);
  call.input_cotangents[0] = at * (g / sum(at, over));
}

Cost cost(const Node&, std::span<const Type> in) { return {static_cast<double>(in[0].elements())}; }

/// A sum over leading axes.
std::optional<Fusion> fusion(const Node& node, std::span<const Type> in) {
  const auto [kind, over] = ReduceAttributes::of(node.attributes);
  const Axes &space = in[0].axes, &row = node.outputs[0].axes;
  if (kind != Reduce::kSum || over.empty() || !ends_with(space, row) || ends_with(space, over))
    return std::nullopt;
  return Fusion{.space = space, .row = row, .sums = true};
}

}  // namespace

namespace ops {
const Op reduce_entry = {.name = "reduce",
                         .summary = "sum, largest or smallest over named axes",
                         .infer = infer,
                         .gradient = gradient,
                         .cost = cost,
                         .fusion = fusion};
}  // namespace ops

NamedArray reduce(Reduce kind, Operand x, const Axes& over) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::reduce_entry, ReduceAttributes{kind, over}.pack(), in, x.where);
}

NamedArray sum(Operand x, const Axes& over) { return reduce(Reduce::kSum, x, over); }

NamedArray mean(Operand x, const Axes& over) {
  return Operand(sum(x, over), x.where) * (1.0 / static_cast<double>(over.elements()));
}

}  // namespace levanter
