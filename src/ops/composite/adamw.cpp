// One step of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101).
// Operands: param grad m v lr scale correction1 correction2 proceed.
#include "base/strings.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  require_wide_floats(in, in.size());
  for (size_t i = 1; i < 4; ++i)
    if (!(in[i] == in[0])) type_error("param, grad, m and v differ");
  for (size_t i = 4; i < in.size(); ++i)
    if (!in[i].axes.empty() || in[i].dtype != in[0].dtype) type_error("a scalar is none");
  return {in[0], in[0], in[0]};
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const auto [beta1, beta2, epsilon, weight_decay] = AdamwAttributes::of(node.attributes).options;
  const NamedArray p = in[0], m = in[2], v = in[3], lr = in[4], proceed = in[8];
  const NamedArray g = in[1] * in[5];
  const NamedArray m1 = m * beta1 + g * (1 - beta1), v1 = v * beta2 + g * g * (1 - beta2);
  const NamedArray u = m1 / in[6] / (sqrt(v1 / in[7]) + epsilon) + p * weight_decay;
  return {select(proceed, p - lr * u, p), select(proceed, m1, m), select(proceed, v1, v)};
}

Cost cost(const Node& node, std::span<const Type>) {
  return {16.0 * static_cast<double>(node.outputs[0].elements())};
}

}  // namespace

namespace ops {
const Op adamw_entry = {.name = "adamw",
                        .summary = "one step of AdamW",
                        .infer = infer,
                        .decompose = decompose,
                        .cost = cost};
}  // namespace ops

AdamwState adamw(Operand param, NamedArray grad, NamedArray m, NamedArray v,
                 const AdamwScalars& scalars, const AdamwOptions& options) {
  const NamedArray in[] = {
      param.array,         grad,           m, v, scalars.lr, scalars.scale, scalars.correction1,
      scalars.correction2, scalars.proceed};
  const NamedArray first =
      param.array.graph().add(ops::adamw_entry, AdamwAttributes{options}.pack(), in, param.where);
  Graph& graph = first.graph();
  const NodeId node = first.value().node;
  return {first, NamedArray(graph, Value{node, 1}), NamedArray(graph, Value{node, 2})};
}

}  // namespace levanter
