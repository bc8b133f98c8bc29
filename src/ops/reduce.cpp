// Sum, largest or smallest over named axes; of bf16 in f32. code: Reduce; axes: the axes that go.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  if (!is_subset(a.axes, in[0].axes))
    type_error(cat("the axes ", to_string(a.axes), " are not all in ", to_string(in[0].axes)));
  return {Type{widened(in[0].dtype), without(in[0].axes, a.axes)}};
}

void gradient(GradientCall& call) {
  const Attributes& a = call.node.attributes;
  const NamedArray g = call.output_cotangents[0], x = call.inputs[0];
  if (static_cast<Reduce>(a.code) == Reduce::kSum) {
    call.input_cotangents[0] = broadcast(cast(g, x.dtype()), x.axes());
    return;
  }
  // The extreme elements share the cotangent equally.
  const NamedArray at = map(Map::kEqual, widen(x), call.outputs[0]);
  call.input_cotangents[0] = at * (g / sum(at, a.axes));
}

Cost cost(const Node&, std::span<const Type> in) { return {static_cast<double>(in[0].elements())}; }

}  // namespace

namespace ops {
extern const Op reduce_entry;
const Op reduce_entry = {.name = "reduce",
                         .summary = "sum, largest or smallest over named axes",
                         .infer = infer,
                         .gradient = gradient,
                         .cost = cost};
}  // namespace ops

NamedArray reduce(Reduce kind, Operand x, const Axes& over) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(
      ops::reduce_entry, Attributes{.code = static_cast<int32_t>(kind), .axes = over}, in, x.where);
}

NamedArray sum(Operand x, const Axes& over) { return reduce(Reduce::kSum, x, over); }

NamedArray mean(Operand x, const Axes& over) {
  return Operand(sum(x, over), x.where) * (1.0 / static_cast<double>(over.elements()));
}

}  // namespace levanter
