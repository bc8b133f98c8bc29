#include "ops/composite/attention.h"

#include <cmath>

#include "base/random.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr double kScale = 0.6;

struct Case {
  const char* name;
  Axes q, k;
  bool causal, segments;
  double dropout;
  int64_t window = 0;
  double soft_cap = 0;
};

const Axes kQ = {{"batch", 2}, {"position", 3}, {"kv_head", 2}, {"head_dim", 3}};
const Axes kK = {{"batch", 2}, {"key_position", 3}, {"kv_head", 2}, {"head_dim", 3}};
const Axes kGrouped = {
    {"batch", 2}, {"position", 3}, {"kv_head", 1}, {"q_group", 2}, {"head_dim", 2}};
const Axes kGroupedKeys = {{"batch", 2}, {"key_position", 3}, {"kv_head", 1}, {"head_dim", 2}};

const std::vector<Case> kCases = {
    {"causal", kQ, kK, true, false, 0},
    {"not causal", kQ, kK, false, false, 0},
    {"segments", kQ, kK, true, true, 0},
    {"segments, not causal", kQ, kK, false, true, 0},
    {"grouped queries", kGrouped, kGroupedKeys, true, false, 0},
    {"grouped queries, segments and dropout", kGrouped, kGroupedKeys, true, true, 0.3},
    {"dropout", kQ, kK, false, false, 0.4},
    {"heads before positions",
     {{"batch", 2}, {"kv_head", 2}, {"q_group", 2}, {"position", 2}, {"head_dim", 1}},
     {{"batch", 2}, {"kv_head", 2}, {"key_position", 2}, {"head_dim", 1}},
     true,
     true,
     0.2},
    {"other lengths",
     {{"batch", 1}, {"position", 2}, {"kv_head", 1}, {"head_dim", 3}},
     {{"batch", 1}, {"key_position", 5}, {"kv_head", 1}, {"head_dim", 3}},
     false,
     false,
     0},
    {"one token",
     {{"batch", 1}, {"position", 1}, {"kv_head", 1}, {"head_dim", 1}},
     {{"batch", 1}, {"key_position", 1}, {"kv_head", 1}, {"head_dim", 1}},
     true,
     false,
     0},
    {"window", kQ, kK, true, false, 0, 2},
    {"a window of one", kQ, kK, true, false, 0, 1},
    {"a window wider than the keys", kQ, kK, true, false, 0, 9},
    {"cap", kQ, kK, false, false, 0, 0, 0.5},
    {"everything", kGrouped, kGroupedKeys, true, true, 0.3, 2, 1.5},
};

std::vector<Array> operands(const Case& c) {
  std::vector<Array> in = {random_real(c.q, 1), random_real(c.k, 2), random_real(c.k, 3)};
  const Axes rows = {{"batch", c.q.size_of("batch")}, {"position", c.q.size_of("position")}};
  if (c.segments) {
    in.push_back(random_ids(rows, 2, 4));
    std::sort(in[3].values.begin(), in[3].values.begin() + rows[1].size);
  }
  if (c.dropout > 0) in.push_back(random_keys({rows[0]}, 5));
  return in;
}

AttentionOptions options(const Case& c, const std::vector<NamedArray>& in) {
  return {.scale = kScale,
          .causal = c.causal,
          .window = c.window,
          .soft_cap = c.soft_cap,
          .segment_ids = c.segments ? in[3] : NamedArray(),
          .dropout_rate = c.dropout,
          .dropout_keys = c.dropout > 0 ? in.back() : NamedArray()};
}

Build fused(const Case& c) {
  return
      [c](const auto& in) { return std::vector{attention(in[0], in[1], in[2], options(c, in))}; };
}

/// Attention as the paper writes it: softmax of masked scores, dropout, values.
Build plain(const Case& c) {
  return [c](const auto& in) {
    Graph& graph = in[0].graph();
    const DType real = in[0].dtype();
    const Axis position{"position", c.q.size_of("position")},
        key{"key_position", c.k.size_of("key_position")};
    Axes axes = attention_lse_axes(c.q);
    axes.push_back(key);
    NamedArray scores = dot(in[0], in[1], axes) * kScale;
    if (c.soft_cap > 0) scores = tanh(scores / c.soft_cap) * c.soft_cap;
    const NamedArray never = constant(graph, -1e9, real);
    const NamedArray queries = broadcast(iota(graph, position, real), {position, key});
    if (c.causal) scores = select(map(Map::kLess, queries, iota(graph, key, real)), never, scores);
    if (c.window > 0) {
      const NamedArray last_gone = queries - static_cast<double>(c.window);
      scores = select(map(Map::kLessEqual, iota(graph, key, real), last_gone), never, scores);
    }
    if (c.segments) {
      const NamedArray theirs = rename(in[3], "position", "key_position");
      const NamedArray pair = broadcast(in[3], unite(in[3].axes(), theirs.axes()));
      scores = select(cast(map(Map::kEqual, pair, theirs), real), scores, never);
    }
    NamedArray p = softmax(scores, "key_position");
    if (c.dropout > 0) p = dropout(p, in.back(), c.dropout);
    return std::vector{dot(p, in[2], c.q)};
  };
}

int64_t index_of(const std::vector<Index>& query, const char* name) {
  for (const Index& index : query)
    if (index.axis == AxisName(name)) return index.at;
  return 0;
}

/// The scores of one query after masks, by plain loops: -inf where a key is not seen.
std::vector<double> masked_scores(const Case& c, const std::vector<Array>& in,
                                  const std::vector<Index>& query) {
  const int64_t t = index_of(query, "position");
  std::vector<double> scores;
  for (int64_t s = 0; s < c.k.size_of("key_position"); ++s) {
    bool seen = (!c.causal || s <= t) && (c.window == 0 || s > t - c.window);
    if (c.segments)
      seen = seen &&
             at(in[3], query) == at(in[3], {{"batch", index_of(query, "batch")}, {"position", s}});
    double score = 0;
    for (int64_t d = 0; d < c.q.size_of("head_dim"); ++d) {
      const auto one = join({{"head_dim", d}, {"key_position", s}}, query);
      score += kScale * at(in[0], one) * at(in[1], one);
    }
    if (c.soft_cap > 0) score = c.soft_cap * std::tanh(score / c.soft_cap);
    scores.push_back(seen ? score : -INFINITY);
  }
  return scores;
}

/// The weights of one query after masks, softmax and dropout.
std::vector<double> weights(const Case& c, const std::vector<Array>& in,
                            const std::vector<Index>& query) {
  const auto position_of = [&](const char* name) { return index_of(query, name); };
  const int64_t t = position_of("position"), keys = c.k.size_of("key_position");
  const int64_t heads = c.q.size_of("kv_head"),
                groups = c.q.contains("q_group") ? c.q.size_of("q_group") : 1;
  std::vector<double> p;
  double total = 0;
  for (const double score : masked_scores(c, in, query)) {
    p.push_back(std::exp(score));
    total += p.back();
  }
  for (int64_t s = 0; s < keys; ++s) {
    double& weight = p[static_cast<size_t>(s)];
    weight /= total;
    if (c.dropout == 0) continue;
    const auto b = static_cast<size_t>(position_of("batch"));
    const Key key{static_cast<uint32_t>(in.back().values[2 * b]),
                  static_cast<uint32_t>(in.back().values[2 * b + 1])};
    const int64_t head = position_of("kv_head") * groups + position_of("q_group");
    REQUIRE(head < heads * groups);
    const int64_t counter = (head * c.q.size_of("position") + t) * keys + s;
    const bool kept =
        uniform_from_bits(random_bits(key, static_cast<uint64_t>(counter))) < 1 - c.dropout;
    weight = kept ? weight / (1 - c.dropout) : 0;
  }
  return p;
}

}  // namespace

TEST_CASE("attention's gradients are those of central differences", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    CHECK(worst_gradient_error(fused(c), operands(c)) < kGradientTolerance);
  }
}

TEST_CASE("attention's own rule agrees with backprop through softmax and products", "[ops]") {
  for (const Case& c : kCases)
    for (size_t which = 0; which < 3; ++which) {
      INFO(c.name);
      CHECK(rule_difference(fused(c), plain(c), operands(c), which) < kRoundingTolerance);
    }
}

TEST_CASE("attention takes the values of its formula", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const auto in = operands(c);
    const Array expected = looped(c.q, [&](const auto& where) {
      std::vector<Index> query;
      for (const Index& index : where)
        if (index.axis != AxisName("head_dim")) query.push_back(index);
      const auto p = weights(c, in, query);
      double o = 0;
      for (size_t s = 0; s < p.size(); ++s)
        o += p[s] * at(in[2], join(where, {{"key_position", static_cast<int64_t>(s)}}));
      return o;
    });
    const Array o = evaluate(fused(c), in)[0];
    CHECK(o.type.axes == c.q);
    CHECK(difference(o, expected) < kRoundingTolerance);
  }
}

TEST_CASE("attention's statistics take the values of their formulas", "[ops]") {
  for (Case c : kCases) {
    INFO(c.name);
    c.dropout = 0;
    const auto in = operands(c);
    const Build build = [c](const auto& arrays) {
      const auto [entropy, largest] =
          attention_statistics(arrays[0], arrays[1], options(c, arrays));
      return std::vector{entropy, largest};
    };
    const std::vector<Array> found = evaluate(build, in);
    const Axes rows = attention_lse_axes(c.q);
    CHECK(found[0].type.axes == rows);
    const Array entropy = looped(rows, [&](const auto& query) {
      double sum = 0;
      for (const double p : weights(c, in, query)) sum -= p > 0 ? p * std::log(p) : 0;
      return sum;
    });
    const Array largest = looped(rows, [&](const auto& query) {
      const std::vector<double> scores = masked_scores(c, in, query);
      return *std::max_element(scores.begin(), scores.end());
    });
    CHECK(difference(found[0], entropy) < kRoundingTolerance);
    CHECK(difference(found[1], largest) < kRoundingTolerance);
  }
}

TEST_CASE("the entropy of attention is exact at its ends", "[ops]") {
  const auto entropy_of = [](double key) {
    const Axes q{{"batch", 1}, {"position", 1}, {"kv_head", 1}, {"head_dim", 1}};
    const Axes k{{"batch", 1}, {"key_position", 4}, {"kv_head", 1}, {"head_dim", 1}};
    AttentionOptions all;
    all.causal = false;
    const Build build = [&](const auto& in) {
      return std::vector{attention_statistics(in[0], in[1], all).entropy};
    };
    const std::vector<Array> in = {array(q, {1}), array(k, {key, 0, 0, 0})};
    return std::pair{evaluate(build, in)[0].values[0],
                     evaluate(build, in, *make_backend("cpu"), DType::f32)[0].values[0]};
  };
  CHECK(entropy_of(0).first == Approx(std::log(4.0)));  // all keys alike
  CHECK(entropy_of(0).second == Approx(std::log(4.0)));
  CHECK(entropy_of(1e4).first == 0);  // one key has all
  CHECK(entropy_of(1e4).second == 0);
}

TEST_CASE("large scores do not overflow attention", "[ops]") {
  const Case& c = kCases[9];
  const Array big = array(c.q, {1e4}), key = array(c.k, {1e4}), value = array(c.k, {0.25});
  CHECK(evaluate(fused(c), {big, key, value})[0].values[0] == 0.25);
  CHECK(worst_gradient_error(fused(c), {big, key, value}) < kGradientTolerance);
}

TEST_CASE("a causal query's output does not change with later keys", "[ops]") {
  const Case& c = kCases[0];
  auto in = operands(c);
  const Array before = evaluate(fused(c), in)[0];
  for (const size_t i : {1, 2})  // the last key of the first sequence
    for (size_t e = 12; e < 18; ++e) in[i].values[e] += 5;
  const Array after = evaluate(fused(c), in)[0];
  CHECK(std::equal(before.values.begin(), before.values.begin() + 12, after.values.begin()));
  CHECK_FALSE(std::equal(before.values.begin() + 12, before.values.begin() + 18,
                         after.values.begin() + 12));
}

TEST_CASE("attention refuses operands that do not fit, naming them", "[ops]") {
  const auto error = [](const Case& c, const std::vector<Array>& in) {
    return trace_error(fused(c), in);
  };
  const Case& c = kCases[0];
  const Array q = random_real(kQ, 1), k = random_real(kK, 2);
  CHECK_THAT(error(c, {random_real({{"batch", 2}, {"position", 3}}, 1), k, k}),
             Catch::Contains("attention: q has no axis head_dim"));
  CHECK_THAT(error(c, {q, q, q}), Catch::Contains("k has no axis key_position"));
  CHECK_THAT(error(c, {q, k, random_real(kGroupedKeys, 1)}), Catch::Contains("k and v differ"));
  const Array wide =
      random_real({{"batch", 2}, {"key_position", 3}, {"kv_head", 3}, {"head_dim", 3}}, 1);
  CHECK_THAT(error(c, {q, wide, wide}), Catch::Contains("k has an axis that q lacks"));
  const Array longer =
      random_real({{"batch", 2}, {"key_position", 4}, {"kv_head", 2}, {"head_dim", 3}}, 1);
  CHECK_THAT(error(c, {q, longer, longer}),
             Catch::Contains("causal attention needs as many keys as queries"));
  CHECK_THAT(error(kCases[2], {q, k, k, random_real({{"batch", 2}, {"position", 3}}, 1)}),
             Catch::Contains("segment_ids are not i32"));
  CHECK_THAT(error(kCases[6], {q, k, k, random_keys({{"kv_head", 2}}, 1)}),
             Catch::Contains("dropout_keys' axes are not q's first ones"));
  Case window = kCases[1];
  window.window = 2;
  CHECK_THAT(error(window, {q, k, k}), Catch::Contains("a window is a number of keys"));
  Case cap = kCases[0];
  cap.soft_cap = -1;
  CHECK_THAT(error(cap, {q, k, k}), Catch::Contains("the soft cap is below 0"));
}

TEST_CASE("attention's cost counts the pairs that mask and window leave", "[ops]") {
  const auto flops = [](bool causal, int64_t window) {
    Graph graph;
    const NamedArray q = input(graph, {DType::f32, kQ}, 0), k = input(graph, {DType::f32, kK}, 1);
    AttentionOptions options;
    options.causal = causal;
    options.window = window;
    const NamedArray o = attention(q, k, k, options);
    const Node& node = graph.node(o.value().node);
    return node.op->cost(node, graph.input_types(node)).flops;
  };
  const double one = 2 * 2 * 2 * 2 * 3;  // two products, batch, heads, multiply and add, head_dim
  CHECK(flops(false, 0) == 9 * one);
  CHECK(flops(true, 0) == 6 * one);
  CHECK(flops(true, 2) == 5 * one);
  CHECK(flops(true, 1) == 3 * one);
  CHECK(flops(true, 100) == 6 * one);
}

TEST_CASE("attention with dropout needs keys and a rate below 1", "[ops]") {
  const auto with = [](double rate, bool keys) {
    return [rate, keys](const std::vector<NamedArray>& in) {
      AttentionOptions o;
      o.dropout_rate = rate;
      if (keys) o.dropout_keys = in[3];
      return std::vector{attention(in[0], in[1], in[2], o)};
    };
  };
  const std::vector in = {random_real(kQ, 1), random_real(kK, 2), random_real(kK, 3),
                          random_keys({{"batch", 2}}, 4)};
  CHECK_THAT(trace_error(with(0.5, false), in), Catch::Contains("there are no keys for it"));
  CHECK_THAT(trace_error(with(1, true), in), Catch::Contains("the dropout rate is not in [0, 1)"));
  CHECK(trace_error(with(0.5, true), in).empty());
}

TEST_CASE("a group of one query that is a broadcast reads its own head", "[ops]") {
  const Axes heads{{"batch", 1}, {"position", 2}, {"kv_head", 3}, {"head_dim", 2}};
  const Axes keys{{"batch", 1}, {"key_position", 2}, {"kv_head", 3}, {"head_dim", 2}};
  const Axes grouped{
      {"batch", 1}, {"position", 2}, {"kv_head", 3}, {"q_group", 1}, {"head_dim", 2}};
  const Build f = [&](const auto& in) {
    return std::vector{attention(broadcast(in[0], grouped), in[1], in[2], {})};
  };
  const std::vector<Array> in = {random_array({DType::f64, heads}, 1),
                                 random_array({DType::f64, keys}, 2),
                                 random_array({DType::f64, keys}, 3)};
  const auto cpu = evaluate(f, in, *make_backend("cpu"), DType::f32);
  constexpr double kF32Tolerance = 1e-5;
  CHECK(difference(cpu[0], evaluate(f, in)[0]) < kF32Tolerance);
}
