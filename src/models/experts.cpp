// A mixture of experts: each token goes through the few experts that a router chooses for it.
#include "models/experts.h"

#include <string>

#include "nn/adaptation.h"

namespace levanter::models {

Experts::Experts(const nn::Scope& s, const DecoderConfig& c, Activation a)
    : scope(s),
      config(c),
      activation(a),
      expert{"expert", c.n_routed_experts},
      router(s / "gate", {{"embed", c.hidden_dim}}, {expert},
             {false, nn::Init::normal(c.initializer_range), nn::WeightOrder::kOutIn}) {
  const Axis embed{"embed", c.hidden_dim}, mlp{"mlp", c.intermediate_dim};
  std::vector<nn::Matrix> gates, ups, downs;
  for (int64_t e = 0; e < expert.size; ++e) {
    const nn::Scope at = s / "experts" / std::to_string(e);
    const auto matrix = [&](const std::string& name, Axis out, Axis in) -> nn::Matrix {
      const nn::Scope own = at / name;
      return {own,
              {in},
              {out},
              own.weight({out, in}, {out.size, in.size}, nn::Init::normal(c.initializer_range),
                         nn::Role::kExpert, {in})};
    };
    gates.push_back(matrix(c.expert_names.gate, mlp, embed));
    ups.push_back(matrix(c.expert_names.up, mlp, embed));
    downs.push_back(matrix(c.expert_names.down, embed, mlp));
  }
  const auto adapted = [&](const std::vector<nn::Matrix>& matrices) {
    Matrices of{{}, s.adapt(matrices)};
    for (const nn::Matrix& matrix : matrices) of.weights.push_back(matrix.weight);
    return of;
  };
  gate = adapted(gates);
  up = adapted(ups);
  down = adapted(downs);
}

NamedArray Experts::multiply(NamedArray rows, NamedArray chosen, const Matrices& matrices,
                             NamedArray dropout_keys) const {
  std::vector<NamedArray> packed;
  for (const nn::Weight& weight : matrices.weights) packed.push_back(weight.factor());
  const NamedArray y = cast(grouped_dot(rows, chosen, packed), scope.graph().compute());
  if (!matrices.adaptation) return y;
  return matrices.adaptation->apply({rows, y, {}, chosen, dropout_keys});
}

NamedArray Experts::operator()(NamedArray x, const LmBatch& batch, const std::string& layer) const {
  const OriginScope at = scope.enter();
  Graph& graph = scope.graph();
  const NamedArray logits = cast(router(x, batch.dropout_keys), graph.real()),
                   p = softmax(logits, expert.name);
  const NamedArray chosen = top_k(p, expert.name, {"choice", config.num_experts_per_tok});
  const Axes choice = {{"choice", config.num_experts_per_tok}};
  NamedArray w = gather(p, expert.name, chosen);
  if (config.norm_topk_prob) w = w / sum(w, choice);
  if (batch.measures) measure(logits, p, chosen, *batch.measures, layer);

  const auto product = [&](NamedArray rows, const Matrices& matrices) {
    return multiply(rows, chosen, matrices, batch.dropout_keys);
  };
  const NamedArray gated = activation(checkpoint_name(product(x, gate), "mlp_gate")) *
                           checkpoint_name(product(x, up), "mlp_up");
  const NamedArray y = cast(product(checkpoint_name(gated, "mlp_act"), down), graph.real());
  return checkpoint_name(cast(sum(y * w, choice), graph.compute()), "mlp_down");
}

void Experts::measure(NamedArray logits, NamedArray p, NamedArray chosen,
                      std::vector<Measure>& measures, const std::string& layer) const {
  const Axes tokens = without(p.axes(), expert.name);
  const Axes each = unite(chosen.axes(), {expert});
  const NamedArray hit = cast(map(Map::kEqual, broadcast(chosen, each),
                                  broadcast(iota(p.graph(), expert, DType::i32), each)),
                              p.dtype());
  const NamedArray load = mean(hit, chosen.axes()), share = mean(p, tokens);
  const NamedArray largest = reduce(Reduce::kMax, logits, {expert});
  const NamedArray lse = largest + log(sum(exp(logits - largest), {expert}));
  const NamedArray entropy = lse - sum(p * logits, {expert});
  const auto experts = static_cast<double>(expert.size);
  measures.push_back(
      {"train/load_balancing_loss", sum(load * share, {expert}) * experts, config.lbl_coef});
  measures.push_back({"train/router_z_loss", mean(lse * lse, tokens), config.rzl_coef});
  measures.push_back({"moe/" + layer + "/routing_entropy", mean(entropy, tokens), 0});
  measures.push_back({"moe/" + layer + "/expert{}_load", load, 0});
}

}  // namespace levanter::models
