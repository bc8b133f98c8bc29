// The CPU backend's fused kernels against the decompositions in f64 on the reference backend, in
// every layout that operands come in, with the same bits for any number of threads.
#include <cmath>

#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/cpu_agreement.h"
#include "support/instruction_set.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

// Relative to the largest element of a result, at least kSmallest.
constexpr double kElementwiseTolerance = 1e-6;
constexpr double kNormTolerance = 3e-6;
constexpr double kAttentionTolerance = 5e-6;
constexpr double kBf16Tolerance = 2e-2;  // of a few roundings to 8 bits
constexpr double kCrossEntropyTolerance = 3e-6;
constexpr double kCappedTolerance = 6e-6;  // of a cross entropy whose logits go through tanh

}  // namespace

TEST_CASE("gelu and its gradient agree", "[device]") {
  const Backends b;
  for (const Gelu kind : {Gelu::kTanh, Gelu::kErf})
    for (const Axes& axes : {Axes{{"embed", 1}}, Axes{{"position", 5}, {"embed", 7}},
                             Axes{{"position", 37}, {"embed", 1021}}}) {
      const Build build = [kind](const auto& in) { return std::vector{gelu(in[0] * 3.0, kind)}; };
      INFO(to_string(axes));
      CHECK(worst_error(b, {{axes}}, with_gradients(build), "gelu_grad") <= kElementwiseTolerance);
    }
}

TEST_CASE("layer norm and its gradient agree, with a bias and without", "[device]") {
  const Backends b;
  struct Case {
    Axes x, weight;
  };
  const std::vector<Case> cases = {
      {{{"position", 1}, {"embed", 1}}, {{"embed", 1}}},
      {{{"embed", 7}}, {{"embed", 7}}},
      {{{"batch", 3}, {"position", 5}, {"embed", 17}}, {{"embed", 17}}},
      {{{"batch", 2}, {"heads", 3}, {"head_dim", 5}}, {{"heads", 3}, {"head_dim", 5}}},
      {{{"position", 131}, {"embed", 257}}, {{"embed", 257}}},
  };
  for (const Case& c : cases)
    for (const bool bias : {false, true}) {
      const Build build = [bias](const auto& in) {
        return std::vector{layer_norm(in[0], in[1], bias ? in[2] : NamedArray(), 1e-3)};
      };
      std::vector<OperandSpec> operands = {{c.x}, {c.weight, Kind::kPositive}};
      if (bias) operands.push_back({c.weight});
      INFO(to_string(c.x) << (bias ? " with a bias" : ""));
      CHECK(worst_error(b, operands, with_gradients(build), "layer_norm_grad") <= kNormTolerance);
    }
}

TEST_CASE("layer norm over axes that are not the last is decomposed and agrees", "[device]") {
  const Backends b;
  const Build build = [](const auto& in) {
    return std::vector{layer_norm(in[0], in[1], NamedArray(), 1e-3)};
  };
  const std::vector<OperandSpec> operands = {{Axes{{"embed", 9}, {"position", 4}}},
                                             {Axes{{"embed", 9}}}};
  CHECK(worst_error(b, operands, with_gradients(build)) <= kNormTolerance);
  CHECK(error_in(b, Layout::kPlain, operands, build, "layer_norm") == INFINITY);
}

TEST_CASE("dropout drops the same elements and scales the same way", "[device]") {
  const Backends b;
  struct Case {
    Axes x, keys;
  };
  const std::vector<Case> cases = {
      {{{"batch", 1}, {"embed", 1}}, {{"batch", 1}, key_word()}},
      {{{"batch", 3}, {"position", 5}, {"embed", 7}}, {{"batch", 3}, key_word()}},
      {{{"batch", 3}, {"position", 5}, {"embed", 7}}, {{"batch", 3}, {"position", 5}, key_word()}},
      {{{"batch", 2}, {"position", 131}, {"embed", 257}}, {{"batch", 2}, key_word()}},
      {{{"position", 5}, {"embed", 7}}, {key_word()}},
  };
  for (const Case& c : cases)
    for (const double rate : {0.1, 0.5}) {
      const Build build = [rate](const auto& in) {
        return std::vector{dropout(in[0], in[1], rate)};
      };
      INFO(to_string(c.x));
      CHECK(worst_error(b, {{c.x}, {c.keys, Kind::kKeys}}, with_gradients(build), "dropout") <=
            kElementwiseTolerance);
    }
}

namespace {

struct AttentionCase {
  const char* name;
  int64_t batch, position, keys, kv_heads, groups, head_dim;  ///< groups 0: no such axis
  bool causal, segments;
  double dropout;
  int64_t window = 0;
  double soft_cap = 0;
};

std::vector<OperandSpec> attention_operands(const AttentionCase& c) {
  Axes q = {{"batch", c.batch}, {"position", c.position}, {"kv_head", c.kv_heads}};
  if (c.groups > 0) q.push_back({"q_group", c.groups});
  q.push_back({"head_dim", c.head_dim});
  const Axes k = {{"batch", c.batch},
                  {"key_position", c.keys},
                  {"kv_head", c.kv_heads},
                  {"head_dim", c.head_dim}};
  std::vector<OperandSpec> operands = {{q}, {k}, {k}};
  if (c.segments)
    operands.push_back({Axes{{"batch", c.batch}, {"position", c.position}}, Kind::kIds, 3});
  if (c.dropout > 0) operands.push_back({Axes{{"batch", c.batch}, key_word()}, Kind::kKeys});
  return operands;
}

AttentionOptions attention_options(const AttentionCase& c, const std::vector<NamedArray>& in) {
  return {.scale = 0.7,
          .causal = c.causal,
          .window = c.window,
          .soft_cap = c.soft_cap,
          .segment_ids = c.segments ? in[3] : NamedArray(),
          .dropout_rate = c.dropout,
          .dropout_keys = c.dropout > 0 ? in.back() : NamedArray()};
}

Build attention_build(const AttentionCase& c) {
  return [c](const std::vector<NamedArray>& in) {
    return std::vector{attention(in[0], in[1], in[2], attention_options(c, in))};
  };
}

Build statistics_build(const AttentionCase& c) {
  return [c](const std::vector<NamedArray>& in) {
    const auto [entropy, largest] = attention_statistics(in[0], in[1], attention_options(c, in));
    return std::vector{entropy, largest};
  };
}

}  // namespace

TEST_CASE("attention and its gradients agree in every layout, and its statistics", "[device]") {
  const Backends b;
  const std::vector<AttentionCase> cases = {
      {"one token", 1, 1, 1, 1, 0, 1, true, false, 0},
      {"causal", 2, 7, 7, 3, 0, 5, true, false, 0},
      {"all keys", 2, 7, 7, 3, 0, 5, false, false, 0},
      {"fewer queries than keys", 2, 5, 11, 2, 0, 4, false, false, 0},
      {"segments", 2, 13, 13, 2, 0, 4, true, true, 0},
      {"segments and all keys", 2, 13, 13, 2, 0, 4, false, true, 0},
      {"dropout", 2, 7, 7, 2, 0, 4, true, false, 0.3},
      {"dropout and all keys", 1, 7, 9, 2, 0, 4, false, false, 0.3},
      {"grouped queries", 2, 7, 7, 2, 3, 5, true, false, 0},
      {"window", 2, 13, 13, 2, 0, 4, true, false, 0, 4},
      {"cap", 2, 13, 13, 2, 0, 4, false, false, 0, 0, 1.5},
      {"everything", 2, 13, 13, 2, 3, 4, true, true, 0.2, 5, 2.0},
  };
  for (const AttentionCase& c : cases) {
    INFO(c.name);
    CHECK(worst_error(b, attention_operands(c), with_gradients(attention_build(c)),
                      "attention_grad") <= kAttentionTolerance);
    CHECK(worst_error(b, attention_operands(c), statistics_build(c), "attention_statistics") <=
          kAttentionTolerance);
  }
}

TEST_CASE("attention of bf16 agrees with its decomposition", "[device]") {
  const Backends b;
  for (const AttentionCase& c :
       {AttentionCase{"causal", 2, 7, 7, 3, 0, 8, true, false, 0},
        AttentionCase{"everything", 1, 97, 97, 2, 3, 16, true, true, 0.2, 70, 3.0}}) {
    const Build build = [c](const std::vector<NamedArray>& in) {
      std::vector<NamedArray> rounded = in;
      for (size_t i = 0; i < 3; ++i) rounded[i] = cast(in[i], DType::bf16);
      return std::vector{cast(attention_build(c)(rounded)[0], in[0].dtype())};
    };
    const Build statistics = [c](const std::vector<NamedArray>& in) {
      std::vector<NamedArray> rounded = in;
      for (size_t i = 0; i < 3; ++i) rounded[i] = cast(in[i], DType::bf16);
      return statistics_build(c)(rounded);
    };
    INFO(c.name);
    CHECK(error_in(b, Layout::kPlain, attention_operands(c), with_gradients(build),
                   "attention_grad") <= kBf16Tolerance);
    CHECK(error_in(b, Layout::kPlain, attention_operands(c), statistics, "attention_statistics") <=
          kBf16Tolerance);
  }
}

TEST_CASE("attention agrees over several tiles of queries and keys", "[device]") {
  const Backends b;
  for (const AttentionCase& c :
       {AttentionCase{"long", 1, 131, 131, 2, 0, 16, true, false, 0},
        AttentionCase{"long, everything", 1, 197, 197, 1, 2, 8, true, true, 0.1, 70, 3.0},
        AttentionCase{"long, all keys", 2, 67, 301, 1, 0, 8, false, false, 0.2}}) {
    INFO(c.name);
    CHECK(error_in(b, Layout::kPlain, attention_operands(c), with_gradients(attention_build(c)),
                   "attention_grad") <= kAttentionTolerance);
    CHECK(error_in(b, Layout::kPlain, attention_operands(c), statistics_build(c),
                   "attention_statistics") <= kAttentionTolerance);
  }
}

TEST_CASE("attention reads the parts of one projection in place", "[device]") {
  const Backends b;
  const Axes qkv = {{"batch", 2}, {"position", 9}, {"kv_head", 6}, {"head_dim", 5}};
  const Build build = [](const auto& in) {
    const int64_t sizes[] = {2, 2, 2};
    const auto parts = partition(in[0], "kv_head", sizes);
    return std::vector{attention(parts[0], rename(parts[1], "position", "key_position"),
                                 rename(parts[2], "position", "key_position"),
                                 {.scale = 0.4, .segment_ids = {}, .dropout_keys = {}})};
  };
  CHECK(worst_error(b, {{qkv}}, with_gradients(build), "attention_grad") <= kAttentionTolerance);
}

TEST_CASE("attention agrees in orders of axes that no fused kernel knows", "[device]") {
  const Backends b;
  struct Case {
    const char* name;
    Axes q, k, segments, keys;
  };
  const Axis batch{"batch", 2}, position{"position", 5}, keys{"key_position", 5},
      head{"kv_head", 2}, group{"q_group", 3}, dim{"head_dim", 4};
  const std::vector<Case> cases = {
      {"heads before positions",
       {batch, head, position, dim},
       {batch, head, keys, dim},
       {batch, position},
       {batch, key_word()}},
      {"head_dim first",
       {dim, batch, position, head},
       {batch, keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"groups outside heads",
       {batch, position, group, head, dim},
       {batch, keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"groups apart",
       {batch, head, position, group, dim},
       {batch, keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"no heads",
       {batch, position, dim},
       {batch, keys, dim},
       {batch, position},
       {batch, key_word()}},
      {"one head of keys without its axis",
       {batch, position, head, dim},
       {batch, keys, dim},
       {batch, position},
       {batch, key_word()}},
      {"keys in groups",
       {batch, position, head, group, dim},
       {batch, keys, head, group, dim},
       {batch, position},
       {batch, key_word()}},
      {"the same keys for all sequences",
       {batch, position, head, dim},
       {keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"segments of all sequences",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {position},
       {batch, key_word()}},
      {"segments, positions first",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {position, batch},
       {batch, key_word()}},
      {"one dropout key",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {batch, position},
       {key_word()}},
      {"a dropout key a head",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {batch, position},
       {batch, head, key_word()}},
  };
  for (const Case& c : cases) {
    const Build build = [](const auto& in) {
      return std::vector{attention(
          in[0], in[1], in[2],
          {.scale = 0.7, .segment_ids = in[3], .dropout_rate = 0.2, .dropout_keys = in[4]})};
    };
    INFO(c.name);
    CHECK(worst_error(b, {{c.q}, {c.k}, {c.k}, {c.segments, Kind::kIds, 2}, {c.keys, Kind::kKeys}},
                      with_gradients(build)) <= kAttentionTolerance);
  }
}

TEST_CASE("the cross entropy of a linear layer agrees, with gradients and without", "[device]") {
  const Backends b;
  struct Case {
    int64_t batch, position, embed, vocab;
    double z_loss = 0, soft_cap = 0;
  };
  for (const Case& c : {Case{1, 1, 1, 2}, Case{2, 7, 5, 11}, Case{3, 37, 19, 127},
                        Case{3, 37, 19, 127, 0.02}, Case{3, 37, 19, 127, 0, 4.0},
                        Case{2, 7, 5, 11, 0.1, 2.0}, Case{1, 300, 8, 40'009, 0.01, 9.0}}) {
    const Axes tokens = {{"batch", c.batch}, {"position", c.position}};
    const Axes h = {tokens[0], tokens[1], {"embed", c.embed}};
    const std::vector<OperandSpec> operands = {{h},
                                               {Axes{{"vocab", c.vocab}, {"embed", c.embed}}},
                                               {tokens, Kind::kIds, c.vocab},
                                               {tokens}};
    const LinearXentOptions options = {.z_loss = c.z_loss, .soft_cap = c.soft_cap};
    const Build forward = [options](const auto& in) {
      const LinearXent xent = linear_xent(in[0] * 2.0, in[1], in[2], in[3], options);
      return std::vector{xent.loss, xent.token_loss};
    };
    const Build gradients = [options](const auto& in) {
      const LinearXent xent = linear_xent(in[0] * 2.0, in[1], in[2], in[3], options);
      const NamedArray wrt[] = {in[0], in[1], in[3]};
      std::vector<NamedArray> out = backprop(xent.loss * 0.5, wrt);
      out.push_back(xent.loss);
      return out;
    };
    const Build frozen = [options](const auto& in) {
      const LinearXent xent = linear_xent(in[0] * 2.0, stop_gradient(in[1]), in[2], in[3], options);
      return backprop(xent.loss * 0.5, std::span(in.data(), 1));
    };
    INFO(to_string(h) << ", " << c.vocab << " words");
    INFO("z-loss " << c.z_loss << ", cap " << c.soft_cap);
    const double tolerance =
        roundings_of_a_term() * (c.soft_cap > 0 ? kCappedTolerance : kCrossEntropyTolerance);
    const bool large = c.vocab > 1000;
    for (const Layout layout : kLayouts) {
      if (large && layout != Layout::kPlain) continue;
      CHECK(error_in(b, layout, operands, forward, "linear_xent") <= tolerance);
      if (!large) CHECK(error_in(b, layout, operands, gradients, "linear_xent") <= tolerance);
      if (!large) CHECK(error_in(b, layout, operands, frozen, "linear_xent") <= tolerance);
    }
  }
}

namespace {

/// param grad m v, then the scalars of a step in the order of the op's operands.
std::vector<OperandSpec> adamw_operands(const Axes& axes) {
  std::vector<OperandSpec> operands = {{axes}, {axes}, {axes}, {axes, Kind::kPositive}};
  for (int i = 0; i < 4; ++i) operands.push_back({Axes{}, Kind::kPositive});
  return operands;
}

Build adamw_build(double proceed) {
  return [proceed](const auto& in) {
    const NamedArray go = constant(in[0].graph(), proceed, in[0].dtype());
    const AdamwState s = adamw(in[0], in[1], in[2], in[3], {in[4], in[5], in[6], in[7], go},
                               {.beta1 = 0.8, .beta2 = 0.97, .epsilon = 1e-3, .weight_decay = 0.1});
    return std::vector{s.param, s.m, s.v};
  };
}

}  // namespace

TEST_CASE("a step of AdamW agrees, and leaves every bit where it may not proceed", "[device]") {
  const Backends b;
  for (const Axes& axes : {Axes{{"embed", 1}}, Axes{{"vocab", 13}, {"embed", 7}},
                           Axes{{"vocab", 131}, {"embed", 257}}}) {
    INFO(to_string(axes));
    CHECK(worst_error(b, adamw_operands(axes), adamw_build(1), "adamw") <= kElementwiseTolerance);
    CHECK(worst_error(b, adamw_operands(axes), adamw_build(0), "adamw") == 0);
  }
}

TEST_CASE("AdamW in the memory of its operands gives the same bits", "[device]") {
  const auto backend = make_backend("cpu", 2);
  const Axes axes = {{"vocab", 131}, {"embed", 257}};
  std::vector<Array> inputs;
  for (const OperandSpec& spec : adamw_operands(axes))
    inputs.push_back(make_array(spec, Layout::kPlain, static_cast<uint32_t>(inputs.size()) + 1));
  const Function apart = trace(adamw_build(1), inputs, DType::f32);
  Function donated = duplicate(apart);
  donated.results[0].donated = 0;
  donated.results[1].donated = 2;
  donated.results[2].donated = 3;
  CHECK(same_bits(run(duplicate(apart), inputs, *backend),
                  run(duplicate(donated), inputs, *backend)));
  CHECK(compile(std::move(donated), *backend).arena_bytes() == 0);
}
