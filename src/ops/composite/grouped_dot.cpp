// Rows multiplied by the weight of their group, and the gradients of the weights.
#include <algorithm>

#include "base/strings.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

/// The axes that a row and a weight are multiplied over.
Axes contracted(const Axes& x, const Axes& weight) { return intersect(weight, x); }

void check_group(const Type& x, const Type& group, const Axes& row) {
  if (group.dtype != DType::i32) type_error("the groups are not i32");
  if (!is_subset(without(x.axes, row), group.axes))
    type_error(cat("the groups ", to_string(group.axes), " lack an axis of the rows"));
}

std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  require_floats({&in[0], 1}, 1);
  const Type &x = in[0], &group = in[1], &weight = in[2];
  for (const Type& other : in.subspan(2))
    if (!(other == weight)) type_error("the weights differ in type");
  if (x.dtype != weight.dtype) type_error("rows and weights are of two types");
  const Axes row = contracted(x.axes, weight.axes);
  if (row.empty()) type_error("rows and weights share no axis");
  check_group(x, group, row);
  return {Type{widened(x.dtype), unite(group.axes, without(weight.axes, row))}};
}

/// 1 where the row is of group `e`, else 0, in type `dtype`.
NamedArray is_of(NamedArray group, size_t e, DType dtype) {
  const NamedArray index = constant(group.graph(), static_cast<double>(e), DType::i32);
  return cast(map(Map::kEqual, group, index), dtype);
}

NamedArray only(NamedArray mask, NamedArray x) {
  const Axes axes = unite(mask.axes(), x.axes());
  return select(broadcast(mask, axes), broadcast(x, axes), constant(x.graph(), 0, x.dtype()));
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const NamedArray x = in[0], group = in[1];
  NamedArray y;
  for (size_t e = 0; e + 2 < in.size(); ++e) {
    const NamedArray weight = in[e + 2];
    const Axes row = contracted(x.axes(), weight.axes());
    const NamedArray all =
        dot(x, weight, unite(without(x.axes(), row), without(weight.axes(), row)));
    const NamedArray mine = only(is_of(group, e, all.dtype()), all);
    y = y ? y + mine : mine;
  }
  return {reorder(y, node.outputs[0].axes)};
}

Cost cost(const Node& node, std::span<const Type> in) {
  const Axes row = contracted(in[0].axes, in[2].axes);
  return {2.0 * static_cast<double>(node.outputs[0].elements() * row.elements())};
}

/// Operands: rows, their groups, cotangents of what the rows gave.
std::vector<Type> infer_outer(const Attributes& attributes, std::span<const Type> in) {
  const auto [weight, count] = GroupedOuterAttributes::of(attributes);
  check_group(in[0], in[1], intersect(weight, in[0].axes));
  return std::vector<Type>(static_cast<size_t>(count), Type{widened(in[0].dtype), weight});
}

std::vector<NamedArray> decompose_outer(Graph&, const Node& node, std::span<const NamedArray> in) {
  const NamedArray x = in[0], group = in[1], g = in[2];
  const Axes weight = GroupedOuterAttributes::of(node.attributes).weight;
  const Axes kept = unite(intersect(g.axes(), x.axes()), intersect(g.axes(), weight));
  std::vector<NamedArray> out;
  for (size_t e = 0; e < node.outputs.size(); ++e)
    out.push_back(dot(x, sum_to(only(is_of(group, e, g.dtype()), g), kept), weight));
  return out;
}

Cost cost_outer(const Node& node, std::span<const Type> in) {
  const Axes weight = GroupedOuterAttributes::of(node.attributes).weight;
  return {2.0 * static_cast<double>(in[1].elements() * weight.elements())};
}

void gradient(GradientCall& call);

}  // namespace

namespace ops {
const Op grouped_dot_entry = {.name = "grouped_dot",
                              .summary = "rows multiplied by the weight of their group",
                              .infer = infer,
                              .gradient = gradient,
                              .decompose = decompose,
                              .cost = cost,
                              .save_class = SaveClass::kDot};
const Op grouped_outer_entry = {.name = "grouped_outer",
                                .summary = "the weights' cotangents through grouped_dot",
                                .infer = infer_outer,
                                .decompose = decompose_outer,
                                .cost = cost_outer};
}  // namespace ops

namespace {
void gradient(GradientCall& call) {
  const NamedArray x = call.inputs[0], group = call.inputs[1];
  const NamedArray g = cast(call.output_cotangents[0], x.dtype());
  const std::span<const NamedArray> weights = std::span(call.inputs).subspan(2);
  if (call.wanted[0])
    call.input_cotangents[0] = reorder(sum_to(grouped_dot(g, group, weights), x.axes()), x.axes());
  if (std::none_of(call.wanted.begin() + 2, call.wanted.end(), [](bool w) { return w; })) return;
  const GroupedOuterAttributes a{weights[0].axes(), static_cast<int64_t>(weights.size())};
  const NamedArray in[] = {x, group, g};
  const NodeId node = call.graph.add(ops::grouped_outer_entry, a.pack(), in).value().node;
  for (uint32_t e = 0; e < weights.size(); ++e)
    call.input_cotangents[e + 2] = {call.graph, Value{node, e}};
}
}  // namespace

NamedArray grouped_dot(Operand x, NamedArray group, std::span<const NamedArray> weights) {
  std::vector<NamedArray> in = {x.array, group};
  in.insert(in.end(), weights.begin(), weights.end());
  return x.array.graph().add(ops::grouped_dot_entry, {}, in, x.where);
}

}  // namespace levanter
