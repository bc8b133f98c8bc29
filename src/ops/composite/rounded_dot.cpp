// A product in the type of its factors, with a bias: rounded once. Passes make it; nothing
// differentiates it. axes: the result's, in order.
#include "base/strings.h"
#include "ops/entries.h"
#include "ops/ops.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const std::vector<Type> product = ops::dot_entry.infer(a, in.first(2));
  if (in.size() == 2) return {Type{in[0].dtype, a.axes}};
  if (in[2].dtype != in[1].dtype) type_error("operands of two types");
  const Axes own = without(intersect(a.axes, in[1].axes), in[0].axes);
  if (!is_subset(own, in[2].axes) || !is_subset(in[2].axes, own))
    type_error(cat("the bias has the axes ", to_string(in[2].axes), ", not ", to_string(own),
                   " as the second factor alone"));
  return {Type{in[0].dtype, a.axes}};
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const Axes& axes = node.attributes.axes;
  NamedArray sum = dot(in[0], in[1], axes);
  if (in.size() > 2) sum = sum + cast(broadcast(in[2], axes), sum.dtype());
  return {cast(sum, in[0].dtype())};
}

Cost cost(const Node&, std::span<const Type> in) {
  return {2.0 * static_cast<double>(unite(in[0].axes, in[1].axes).elements())};
}

}  // namespace

namespace ops {
const Op rounded_dot_entry = {.name = "rounded_dot",
                              .summary = "a product and a bias, rounded once",
                              .infer = infer,
                              .decompose = decompose,
                              .cost = cost,
                              .save_class = SaveClass::kDot};
}  // namespace ops

NamedArray rounded_dot(Operand a, NamedArray b, const Axes& out, NamedArray bias) {
  std::vector<NamedArray> in = {a.array, b};
  if (bias) in.push_back(bias);
  return a.array.graph().add(ops::rounded_dot_entry, Attributes{.axes = out}, in, a.where);
}

}  // namespace levanter
