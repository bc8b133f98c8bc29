// Elements zeroed at random, the rest scaled up.
#include "base/strings.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& attributes, std::span<const Type> in) {
  require_floats(in, 1);
  const Axes& keys = in[1].axes;
  const double rate = DropoutAttributes::of(attributes).rate;
  if (!(rate >= 0 && rate < 1)) type_error("the rate is not in [0, 1)");
  if (in[1].dtype != DType::u32 || keys.empty() || keys[keys.size() - 1] != key_word())
    type_error("keys are u32 with key_word 2 as the last axis");
  for (size_t i = 0; i + 1 < keys.size(); ++i)
    if (i >= in[0].axes.size() || in[0].axes[i] != keys[i])
      type_error("x does not begin with the keys' axes");
  return {in[0]};
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const double keep = 1 - DropoutAttributes::of(node.attributes).rate;
  const NamedArray x = in[0];
  const NamedArray u = uniform(random_bits(in[1], x.axes()), x.dtype());
  const NamedArray kept = map(Map::kLess, u, constant(x.graph(), keep, x.dtype()));
  return {select(kept, x * (1 / keep), constant(x.graph(), 0, x.dtype()))};
}

void gradient(GradientCall& call) {
  // The same mask: it is a function of the keys and the index alone.
  call.input_cotangents[0] = dropout(call.output_cotangents[0], call.inputs[1],
                                     DropoutAttributes::of(call.node.attributes).rate);
}

Cost cost(const Node& node, std::span<const Type>) {
  return {62.0 * static_cast<double>(node.outputs[0].elements())};
}

}  // namespace

namespace ops {
const Op dropout_entry = {.name = "dropout",
                          .summary = "elements zeroed at random, the rest scaled up",
                          .infer = infer,
                          .gradient = gradient,
                          .decompose = decompose,
                          .cost = cost,
                          .fusion = fuse_elementwise};
}  // namespace ops

NamedArray dropout(Operand x, NamedArray keys, double rate) {
  if (rate == 0) return x.array;
  const NamedArray in[] = {x.array, keys};
  return x.array.graph().add(ops::dropout_entry, DropoutAttributes{rate}.pack(), in, x.where);
}

}  // namespace levanter
