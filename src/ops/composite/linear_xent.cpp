// The cross entropy of a linear layer without its full logits; where gradients are wanted, the
// forward call computes them (Hsu et al. 2024, arXiv:2410.10989);
// z_loss: Chowdhery et al. 2022, arXiv:2204.02311.
#include "base/strings.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& attributes, std::span<const Type> in) {
  const auto [gradients, options] = LinearXentAttributes::of(attributes);
  require_floats(in, 2);
  const Axes &h = in[0].axes, &weight = in[1].axes, &targets = in[2].axes;
  if (!weight.contains("vocab")) type_error("the weight has no axis vocab");
  if (!is_subset(without(weight, "vocab"), h)) type_error("h lacks an axis of the weight");
  if (!(targets == without(h, weight))) type_error("targets are not one a row of h");
  if (in[2].dtype != DType::i32) type_error("targets are not i32");
  const DType real = widened(in[0].dtype);
  if (!(in[3] == Type{real, targets})) type_error("token_scale is not one a token");
  if (!(options.z_loss >= 0 && options.soft_cap >= 0))
    type_error("z_loss or the soft cap is below 0");
  std::vector<Type> out = {Type{real, {}}, Type{real, targets}};
  if (gradients != XentGradients::kNone) out.push_back(in[0]);               // dh
  if (gradients == XentGradients::kBoth) out.push_back(Type{real, weight});  // dweight
  return out;
}

/// cap tanh(x / cap), or x without a cap.
NamedArray capped(NamedArray x, double cap) { return cap > 0 ? tanh(x / cap) * cap : x; }

NamedArray where_scaled(NamedArray of_tokens, NamedArray scale) {
  return select(scale, of_tokens, zero_like(of_tokens));
}

std::vector<NamedArray> decompose(Graph& graph, const Node& node, std::span<const NamedArray> in) {
  const NamedArray h = in[0], weight = in[1], targets = in[2], scale = in[3];
  const auto [gradients, options] = LinearXentAttributes::of(node.attributes);
  const auto [z_loss, cap, scaled_only] = options;
  const Axis vocab{"vocab", weight.axes().size_of("vocab")};
  Axes axes = targets.axes();
  axes.push_back(vocab);
  const NamedArray logits = capped(dot(h, weight, axes), cap);
  const NamedArray largest = reduce(Reduce::kMax, logits, {vocab});
  const NamedArray lse = largest + log(sum(exp(logits - largest), {vocab}));
  const NamedArray token_loss = lse - gather(logits, "vocab", targets);
  const NamedArray term = z_loss > 0 ? token_loss + lse * lse * z_loss : token_loss;
  std::vector<NamedArray> out = {sum(term * scale, targets.axes()),
                                 scaled_only ? where_scaled(token_loss, scale) : token_loss};
  if (gradients == XentGradients::kNone) return out;
  // At the target, softmax - 1 is minus the sum of the others: no digits cancel when it is near 1.
  const NamedArray hot =
      cast(map(Map::kEqual, broadcast(iota(graph, vocab, DType::i32), axes), targets), h.dtype());
  const NamedArray p = exp(logits - lse), others = select(hot, zero_like(lse), p);
  NamedArray dlogits = others - hot * sum(others, {vocab});
  if (z_loss > 0) dlogits = dlogits + p * (lse * (2 * z_loss));
  dlogits = dlogits * scale;
  if (cap > 0) dlogits = dlogits * (1.0 - (logits / cap) * (logits / cap));
  out.push_back(dot(dlogits, weight, h.axes()));
  if (gradients == XentGradients::kBoth) out.push_back(dot(dlogits, h, weight.axes()));
  return out;
}

Cost cost(const Node& node, std::span<const Type> in) {
  const double product =
      2 * static_cast<double>(in[0].elements()) * static_cast<double>(in[1].axes.size_of("vocab"));
  return {product * (1 + static_cast<int>(LinearXentAttributes::of(node.attributes).gradients))};
}

void gradient(GradientCall& call);

}  // namespace

namespace ops {
const Op linear_xent_entry = {.name = "linear_xent",
                              .summary = "cross entropy of a linear layer, in chunks",
                              .infer = infer,
                              .gradient = gradient,
                              .decompose = decompose,
                              .cost = cost,
                              .save_class = SaveClass::kDot};
}  // namespace ops

namespace {
/// The node that computes gradients too.
NodeId with_gradients(GradientCall& call, LinearXentAttributes attributes,
                      std::span<const NamedArray> inputs) {
  attributes.gradients = call.wanted[1] ? XentGradients::kBoth : XentGradients::kHidden;
  return call.graph.add(ops::linear_xent_entry, attributes.pack(), inputs).value().node;
}

/// Token losses that count as much as their cotangents are a loss of that scale.
void token_gradient(GradientCall& call) {
  auto a = LinearXentAttributes::of(call.node.attributes);
  NamedArray scale = call.output_cotangents[1];
  if (a.options.scaled_only) scale = where_scaled(scale, call.inputs[3]);
  a.options.z_loss = 0;          // which token losses have no part of
  a.options.scaled_only = true;  // nobody reads this node's token losses
  const NamedArray in[] = {call.inputs[0], call.inputs[1], call.inputs[2], scale};
  const NodeId node = with_gradients(call, a, in);
  for (uint32_t i = 0; i < 2; ++i)
    if (call.wanted[i])
      call.input_cotangents[i] = widen(NamedArray(call.graph, Value{node, 2 + i}));
}

void gradient(GradientCall& call) {
  if (call.output_cotangents[1]) token_gradient(call);
  const NamedArray g = call.output_cotangents[0];
  if (!g) return;
  const auto a = LinearXentAttributes::of(call.node.attributes);
  // The same node with gradients; canonicalise lets it stand for the one without.
  const NodeId node = with_gradients(call, a, call.inputs);
  for (uint32_t i = 0; i < 2; ++i) {
    if (!call.wanted[i]) continue;
    const NamedArray more = widen(NamedArray(call.graph, Value{node, 2 + i})) * g;
    NamedArray& total = call.input_cotangents[i];
    total = total ? total + more : more;
  }
  if (!call.wanted[3]) return;
  NamedArray term = call.outputs[1];
  if (a.options.z_loss > 0) {
    const NamedArray h = call.inputs[0], targets = call.inputs[2];
    const NamedArray row = gather(call.inputs[1], "vocab", targets);
    const NamedArray lse = term + capped(dot(h, row, targets.axes()), a.options.soft_cap);
    term = term + lse * lse * a.options.z_loss;
  }
  if (a.options.scaled_only) term = where_scaled(term, call.inputs[3]);
  call.input_cotangents[3] = term * g;
}
}  // namespace

LinearXent linear_xent(Operand h, NamedArray weight, NamedArray targets, NamedArray token_scale,
                       const LinearXentOptions& options) {
  const NamedArray in[] = {h.array, weight, targets, token_scale};
  const LinearXentAttributes a{.options = options};
  const NamedArray loss = h.array.graph().add(ops::linear_xent_entry, a.pack(), in, h.where);
  return {loss, NamedArray(loss.graph(), Value{loss.value().node, 1})};
}

}  // namespace levanter
