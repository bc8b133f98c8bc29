// Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762); the backward pass computes
// the probabilities again from the log-sum-exp (Dao et al. 2022, arXiv:2205.14135).
#include "ops/composite/attention.h"

#include <algorithm>

#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

/// Added to no score: a masked one is replaced by this, whose exponential is exactly 0.
constexpr double kMasked = -1e30;

Axis axis_of(const Axes& axes, AxisName name) { return {name, axes.size_of(name)}; }

std::vector<Type> infer(const Attributes& attributes, std::span<const Type> in) {
  require_floats(in, 3);
  const auto a = AttentionAttributes::of(attributes);
  const Axes &q = in[0].axes, &k = in[1].axes;
  for (const AxisName name : {AxisName("batch"), AxisName("position"), AxisName("head_dim")})
    if (!q.contains(name)) type_error(cat("q has no axis ", name.text()));
  if (!k.contains("key_position") || k.contains("position"))
    type_error("k has no axis key_position, or has position too");
  if (!(in[1] == in[2])) type_error("k and v differ");
  if (!is_subset(without(k, "key_position"), q)) type_error("k has an axis that q lacks");
  if (!(a.dropout_rate >= 0 && a.dropout_rate < 1) || (a.dropout_rate > 0 && !a.has_keys))
    type_error("the dropout rate is not in [0, 1), or there are no keys for it");
  if (a.causal && !a.has_positions && q.size_of("position") != k.size_of("key_position"))
    type_error("causal attention needs as many keys as queries");
  if (a.window < 0 || (a.window > 0 && !a.causal))
    type_error("a window is a number of keys, of causal attention");
  if (!(a.soft_cap >= 0)) type_error("the soft cap is below 0");
  const Axes rows = attention_lse_axes(q);
  if (a.has_segments && (in[3].dtype != DType::i32 || !in[3].axes.contains("position") ||
                         !is_subset(in[3].axes, rows)))
    type_error("segment_ids are not i32 with position and q's batch axes");
  if (a.has_positions && (!a.causal || a.operands() != 4 || in[3].dtype != DType::i32 ||
                          !(in[3].axes == Axes{axis_of(q, "batch"), axis_of(q, "position")})))
    type_error("positions are not i32 [batch, position], or come with segments or dropout");
  if (a.has_keys) {
    const Axes& keys = in[a.operands() - 1].axes;
    if (in[a.operands() - 1].dtype != DType::u32 || keys.empty() ||
        keys[keys.size() - 1] != key_word())
      type_error("dropout_keys are u32 with key_word 2 as the last axis");
    for (size_t i = 0; i + 1 < keys.size(); ++i)
      if (keys[i] != rows[i]) type_error("dropout_keys' axes are not q's first ones");
  }
  return {in[0], Type{widened(in[0].dtype), rows}};
}

/// Scores over [batch, heads..., position, key_position].
struct Scores {
  NamedArray masked;  ///< scale q.k, capped, then masked
  NamedArray slope;   ///< d capped / d (scale q.k); empty without a cap
};

Scores scores(const AttentionAttributes& a, std::span<const NamedArray> in) {
  const NamedArray q = in[0], k = in[1];
  Graph& graph = q.graph();
  const Axis position = axis_of(q.axes(), "position"), key = axis_of(k.axes(), "key_position");
  Axes out = attention_lse_axes(q.axes());
  out.push_back(key);
  NamedArray s = dot(q, k, out) * a.scale, slope;
  if (a.soft_cap > 0) {
    const NamedArray bent = tanh(s / a.soft_cap);
    s = bent * a.soft_cap;
    slope = 1.0 - bent * bent;
  }
  const NamedArray masked = constant(graph, kMasked, q.dtype());
  const NamedArray queries =
      a.has_positions ? cast(in[3], q.dtype()) : iota(graph, position, q.dtype());
  const NamedArray keys = broadcast(iota(graph, key, q.dtype()), unite(queries.axes(), {key}));
  if (a.causal) s = select(map(Map::kLessEqual, keys, queries), s, masked);
  if (a.window > 0) {
    const NamedArray hidden = queries - static_cast<double>(a.window);  // the last key gone by
    s = select(map(Map::kLessEqual, keys, hidden), masked, s);
  }
  if (a.has_segments) {
    const NamedArray mine = in[3], theirs = rename(in[3], "position", "key_position");
    const Axes pair = unite(mine.axes(), theirs.axes());
    s = select(cast(map(Map::kEqual, broadcast(mine, pair), theirs), q.dtype()), s, masked);
  }
  return {s, slope};
}

NamedArray drop(const AttentionAttributes& a, std::span<const NamedArray> in, NamedArray p) {
  return dropout(p, a.has_keys ? in[a.operands() - 1] : NamedArray(), a.dropout_rate);
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  const auto a = AttentionAttributes::of(node.attributes);
  const Axes key = {axis_of(in[1].axes(), "key_position")};
  const NamedArray s = scores(a, in).masked, largest = reduce(Reduce::kMax, s, key);
  const NamedArray e = exp(s - largest), total = sum(e, key);
  return {dot(drop(a, in, e / total), in[2], in[0].axes()), largest + log(total)};
}

std::vector<Type> infer_statistics(const Attributes& attributes, std::span<const Type> in) {
  const Type rows = infer(attributes, in)[1];
  const auto a = AttentionAttributes::of(attributes);
  if (a.has_keys || a.has_positions) type_error("statistics of dropout's keys, or of a cache");
  return {rows, rows};
}

std::vector<NamedArray> decompose_statistics(Graph&, const Node& node,
                                             std::span<const NamedArray> in) {
  const Axes key = {axis_of(in[1].axes(), "key_position")};
  std::vector<NamedArray> wide(in.begin(), in.end());
  for (size_t i = 0; i < 3; ++i) wide[i] = widen(in[i]);
  const NamedArray s = scores(AttentionAttributes::of(node.attributes), wide).masked;
  const NamedArray largest = reduce(Reduce::kMax, s, key), below = s - largest, e = exp(below);
  // -log p = log(total) - below: no digits cancel where one key has almost all.
  const NamedArray total = sum(e, key);
  return {log(total) - sum(e * below, key) / total, largest};
}

/// Arithmetic of the two products forward, over the pairs that mask and window leave.
double product_flops(const Node& node, std::span<const Type> in) {
  const auto a = AttentionAttributes::of(node.attributes);
  const auto queries = static_cast<double>(in[0].axes.size_of("position")),
             keys = static_cast<double>(in[1].axes.size_of("key_position"));
  double pairs = queries * keys;
  if (a.causal && !a.has_positions) {
    const double window = a.window > 0 ? std::min(keys, static_cast<double>(a.window)) : keys;
    pairs = window * (window + 1) / 2 + (keys - window) * window;
  }
  return 4 * static_cast<double>(in[0].elements()) / queries * pairs;
}

Cost cost(const Node& node, std::span<const Type> in) { return {product_flops(node, in)}; }

Cost cost_statistics(const Node& node, std::span<const Type> in) {
  return {0.5 * product_flops(node, in)};
}

std::vector<Type> infer_grad(const Attributes&, std::span<const Type> in) {
  return {in[0], in[1], in[2]};
}

std::vector<NamedArray> decompose_grad(Graph&, const Node& node, std::span<const NamedArray> in) {
  const auto a = AttentionAttributes::of(node.attributes);
  const size_t n = a.operands();
  const NamedArray q = in[0], k = in[1], v = in[2], o = in[n], lse = in[n + 1], g = in[n + 2];
  const auto [masked, slope] = scores(a, in);
  const NamedArray p = exp(masked - lse);
  const NamedArray dp = drop(a, in, dot(g, v, p.axes()));
  const NamedArray row = sum(g * o, {axis_of(q.axes(), "head_dim")});
  NamedArray ds = p * (dp - row) * a.scale;
  if (slope) ds = ds * slope;
  return {dot(ds, k, q.axes()), dot(ds, q, k.axes()), dot(drop(a, in, p), g, v.axes())};
}

Cost cost_grad(const Node& node, std::span<const Type> in) {
  return {2.5 * product_flops(node, in)};
}

void gradient(GradientCall& call);

}  // namespace

namespace ops {
const Op attention_entry = {.name = "attention",
                            .summary = "scaled dot-product attention",
                            .infer = infer,
                            .gradient = gradient,
                            .decompose = decompose,
                            .cost = cost,
                            .save_class = SaveClass::kDot};
const Op attention_grad_entry = {.name = "attention_grad",
                                 .summary = "the cotangents through attention",
                                 .infer = infer_grad,
                                 .decompose = decompose_grad,
                                 .cost = cost_grad};
const Op attention_statistics_entry = {
    .name = "attention_statistics",
    .summary = "the entropy and the largest score of each query of attention",
    .infer = infer_statistics,
    .decompose = decompose_statistics,
    .cost = cost_statistics};
}  // namespace ops

namespace {
void gradient(GradientCall& call) {
  std::vector<NamedArray> in = call.inputs;
  in.insert(in.end(), {call.outputs[0], call.outputs[1], call.output_cotangents[0]});
  const NodeId node =
      call.graph.add(ops::attention_grad_entry, call.node.attributes, in).value().node;
  for (uint32_t i = 0; i < 3; ++i) call.input_cotangents[i] = {call.graph, Value{node, i}};
}
}  // namespace

Axes attention_lse_axes(const Axes& q) {
  Axes axes = without(without(q, "position"), "head_dim");
  axes.push_back(axis_of(q, "position"));
  return axes;
}

namespace {

/// The first output of an op that takes what attention does.
NamedArray add_attention(const Op& op, Operand q, NamedArray k, NamedArray v,
                         const AttentionOptions& options) {
  const AttentionAttributes a{.scale = options.scale,
                              .dropout_rate = options.dropout_rate,
                              .soft_cap = options.soft_cap,
                              .causal = options.causal,
                              .has_segments = static_cast<bool>(options.segment_ids),
                              .has_keys = options.dropout_rate > 0 && options.dropout_keys,
                              .has_positions = static_cast<bool>(options.positions),
                              .window = options.window};
  std::vector<NamedArray> in = {q.array, k, v};
  if (a.has_segments) in.push_back(options.segment_ids);
  if (a.has_keys) in.push_back(options.dropout_keys);
  if (a.has_positions) in.push_back(options.positions);
  return q.array.graph().add(op, a.pack(), in, q.where);
}

}  // namespace

NamedArray attention(Operand q, NamedArray k, NamedArray v, const AttentionOptions& options) {
  return add_attention(ops::attention_entry, q, k, v, options);
}

AttentionStatistics attention_statistics(Operand q, NamedArray k, AttentionOptions options) {
  options.dropout_rate = 0;
  Graph& graph = q.array.graph();
  const NodeId node = add_attention(ops::attention_statistics_entry, q, k, k, options).value().node;
  return {{graph, Value{node, 0}}, {graph, Value{node, 1}}};
}

}  // namespace levanter
