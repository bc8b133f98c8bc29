// Layer norm (Ba, Kiros & Hinton 2016, arXiv:1607.06450) and RMS norm (Zhang & Sennrich 2019,
// arXiv:1910.07467), which is the same with a mean of 0.
#include "base/strings.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& attributes, std::span<const Type> in) {
  const auto a = LayerNormAttributes::of(attributes);
  const DType wide = widened(in[0].dtype);
  require_floats(in, 1);
  require_wide_floats(in.subspan(1), a.has_bias ? 2 : 1);
  if (in[1].dtype != wide)
    type_error(cat("x and the weight are ", name_of(in[0].dtype), " and ", name_of(in[1].dtype)));
  if (!is_subset(in[1].axes, in[0].axes))
    type_error(cat("the weight's axes ", to_string(in[1].axes), " are not all in x"));
  if (a.has_bias && !(in[2].axes == in[1].axes)) type_error("weight and bias differ in axes");
  if (!(a.eps > 0)) type_error("eps is not above 0");
  const Type row{wide, without(in[0].axes, in[1].axes)};
  return {in[0], row, row};  // y, mean, 1 / standard deviation
}

/// The mean over axes, or 0 for RMS norm.
NamedArray mean_of(const Node& node, NamedArray x, const Axes& over) {
  if (LayerNormAttributes::of(node.attributes).has_mean) return mean(x, over);
  return broadcast(constant(x.graph(), 0, x.dtype()), without(x.axes(), over));
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const auto a = LayerNormAttributes::of(node.attributes);
  const Axes& over = in[1].axes();
  const NamedArray mu = mean_of(node, in[0], over), centred = in[0] - mu;
  const NamedArray rstd = rsqrt(mean(centred * centred, over) + a.eps);
  const NamedArray y = centred * rstd * in[1];
  return {a.has_bias ? y + in[2] : y, mu, rstd};
}

Cost cost(const Node&, std::span<const Type> in) {
  return {8.0 * static_cast<double>(in[0].elements())};
}

/// x, weight, mean, rstd, dy -> dx, and where they are not frozen dweight and dbias
std::vector<Type> infer_grad(const Attributes& attributes, std::span<const Type> in) {
  if (LayerNormAttributes::of(attributes).is_frozen) return {in[0]};
  return {in[0], in[1], in[1]};
}

std::vector<NamedArray> decompose_grad(Graph&, const Node& node, std::span<const NamedArray> in) {
  const NamedArray x = in[0], weight = in[1], mu = in[2], rstd = in[3], dy = in[4];
  const Axes &over = weight.axes(), rows = without(x.axes(), over);
  const NamedArray normal = (x - mu) * rstd, g = dy * weight;
  const NamedArray dx = rstd * (g - mean_of(node, g, over) - normal * mean(g * normal, over));
  if (LayerNormAttributes::of(node.attributes).is_frozen) return {dx};
  return {dx, sum(dy * normal, rows), sum(dy, rows)};
}

/// Over rows that the weight's axes make.
std::optional<Fusion> fusion(const Node&, std::span<const Type> in) {
  if (!ends_with(in[0].axes, in[1].axes)) return std::nullopt;
  return Fusion{.space = in[0].axes, .row = in[1].axes};
}

std::optional<Fusion> fusion_grad(const Node& node, std::span<const Type> in) {
  std::optional<Fusion> rows = fusion(node, in);
  if (rows) rows->sums = node.outputs.size() > 1;  // the weight's gradients
  return rows;
}

void gradient(GradientCall& call);

}  // namespace

namespace ops {
const Op layer_norm_entry = {.name = "layer_norm",
                             .summary = "layer norm over the weight's axes",
                             .infer = infer,
                             .gradient = gradient,
                             .decompose = decompose,
                             .cost = cost,
                             .fusion = fusion};
const Op layer_norm_grad_entry = {.name = "layer_norm_grad",
                                  .summary = "the cotangents through layer norm",
                                  .infer = infer_grad,
                                  .decompose = decompose_grad,
                                  .cost = cost,
                                  .fusion = fusion_grad};
}  // namespace ops

namespace {
void gradient(GradientCall& call) {
  Graph& graph = call.graph;
  const NamedArray in[] = {call.inputs[0], call.inputs[1], call.outputs[1], call.outputs[2],
                           call.output_cotangents[0]};
  const LayerNormAttributes a{.has_mean = LayerNormAttributes::of(call.node.attributes).has_mean,
                              .is_frozen = !call.wanted[1] && !call.wanted.back()};
  const NodeId node = graph.add(ops::layer_norm_grad_entry, a.pack(), in).value().node;
  for (uint32_t i = 0; i < (a.is_frozen ? 1 : call.inputs.size()); ++i)
    call.input_cotangents[i] = NamedArray(graph, Value{node, i});
}
}  // namespace

NamedArray layer_norm(Operand x, NamedArray weight, NamedArray bias, double eps) {
  const LayerNormAttributes a{.eps = eps, .has_bias = static_cast<bool>(bias)};
  std::vector<NamedArray> in = {x.array, weight};
  if (bias) in.push_back(bias);
  return x.array.graph().add(ops::layer_norm_entry, a.pack(), in, x.where);
}

NamedArray rms_norm(Operand x, NamedArray weight, double eps) {
  const LayerNormAttributes a{.eps = eps, .has_mean = false};
  const NamedArray in[] = {x.array, weight};
  return x.array.graph().add(ops::layer_norm_entry, a.pack(), in, x.where);
}

}  // namespace levanter
