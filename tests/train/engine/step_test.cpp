// The traced functions of a step: what they take, what they give, and their gradients.
#include "train/engine/step.h"

#include <cmath>

#include "passes/passes.h"
#include "support/checks.h"
#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;
using train::Accumulate;

namespace {

constexpr double kStep = 1e-5;
constexpr double kDifferenceTolerance = 1e-6;  // of central differences in f64

const train::StepShape kShape{3, 8, kVocab, DType::f64};

train::ModelSpec spec_of(const Gpt2Config& model) { return {models::entry("gpt2"), model}; }

/// Parameters, a made-up batch, dropout keys and 1 / tokens, in the order of the arguments.
std::vector<Array> arguments(const Gpt2Config& model, double inverse_tokens) {
  std::vector<Array> inputs;
  for (const nn::Param& param : infer::trace_params(spec_of(model), kShape)) {
    inputs.push_back(random_array(param.type, static_cast<uint32_t>(inputs.size()) + 50));
    for (double& x : inputs.back().values) x = x * 0.5 + (param.role == nn::Role::kNorm ? 1 : 0);
  }
  const MadeUpRows rows(0, 2, 3);
  const Axes axes = infer::token_type(kShape).axes;
  for (const auto* ids : {&rows.tokens, &rows.targets, &rows.segment_ids, &rows.positions})
    inputs.push_back({{DType::i32, axes}, {ids->begin(), ids->end()}});
  inputs.push_back({{DType::f64, axes}, {rows.loss_weight.begin(), rows.loss_weight.end()}});
  inputs.push_back(random_keys({axes[0]}, 3));
  inputs.push_back({{DType::f64, {}}, {inverse_tokens}});
  return inputs;
}

Function gradients_of(const Gpt2Config& model, Accumulate mode, double z_loss = 0) {
  const auto objective = models::objectives::make("lm", {.z_loss = z_loss});
  return train::trace_gradients(spec_of(model), kShape, *objective, mode);
}

std::vector<Array> run_gradients(const Gpt2Config& model, Accumulate mode,
                                 const std::vector<Array>& inputs) {
  const auto backend = make_backend("reference");
  return testing::run(optimise(gradients_of(model, mode), *backend), inputs, *backend);
}

std::vector<std::string> names(const std::vector<Argument>& arguments) {
  std::vector<std::string> out;
  for (const Argument& argument : arguments) out.push_back(argument.name);
  return out;
}

}  // namespace

TEST_CASE("a step's gradients are those of central differences, dropout included", "[train]") {
  Gpt2Config model = tiny_model_with_dropout();
  model.num_layers = 1;
  model.hidden_dim = 4;
  std::vector<Array> inputs = arguments(model, 1.0 / 7);
  const std::vector<Array> exact = run_gradients(model, Accumulate::kFirst, inputs);
  double largest = 0;
  for (size_t p = 0; p + 1 < exact.size(); ++p)
    for (const double g : exact[p].values) largest = std::max(largest, std::abs(g));
  REQUIRE(largest > 1e-2);
  for (size_t p = 0; p + 1 < exact.size(); ++p)
    for (size_t i = 0; i < exact[p].values.size(); i += 5) {
      double loss[2];
      for (const int side : {0, 1}) {
        const double kept = inputs[p].values[i];
        inputs[p].values[i] += side ? kStep : -kStep;
        loss[side] = run_gradients(model, Accumulate::kFirst, inputs).back().values[0];
        inputs[p].values[i] = kept;
      }
      INFO("parameter " << p << ", element " << i);
      REQUIRE(std::abs((loss[1] - loss[0]) / (2 * kStep) - exact[p].values[i]) <=
              kDifferenceTolerance * largest);
    }
}

TEST_CASE("later microbatches are added to the sums of the first, once each", "[train]") {
  const Gpt2Config model = tiny_model_with_dropout();
  const std::vector<Array> inputs = arguments(model, 0.25);
  const std::vector<Array> first = run_gradients(model, Accumulate::kFirst, inputs);
  std::vector<Array> more = inputs;
  std::vector<Array> expected = first;
  for (size_t i = 0; i < first.size(); ++i) {
    more.push_back(random_array(first[i].type, static_cast<uint32_t>(i) + 900));
    for (size_t j = 0; j < first[i].values.size(); ++j)
      expected[i].values[j] = more.back().values[j] + first[i].values[j];
  }
  CHECK(same_bits(run_gradients(model, Accumulate::kNext, more), expected));
}

TEST_CASE("positions that weigh nothing have no part in loss and gradients", "[train]") {
  const Gpt2Config model = tiny_model();
  std::vector<Array> inputs = arguments(model, 0.5);
  const size_t targets = inputs.size() - 6, weights = inputs.size() - 3;
  REQUIRE(inputs[weights].type.dtype == DType::f64);
  const std::vector<Array> before = run_gradients(model, Accumulate::kFirst, inputs);
  int changed = 0;
  for (size_t i = 0; i < inputs[targets].values.size(); ++i) {
    if (inputs[weights].values[i] != 0) continue;
    inputs[targets].values[i] = static_cast<double>((i * 5) % kVocab);
    ++changed;
  }
  REQUIRE(changed > 0);
  CHECK(same_bits(run_gradients(model, Accumulate::kFirst, inputs), before));
  inputs.back().values[0] *= 2;  // 1 / tokens: everything is linear in it
  const std::vector<Array> doubled = run_gradients(model, Accumulate::kFirst, inputs);
  for (size_t i = 0; i < before.size(); ++i)
    for (size_t j = 0; j < before[i].values.size(); ++j)
      REQUIRE(doubled[i].values[j] == 2 * before[i].values[j]);
}

namespace {

/// The first layer's attention by plain loops: queries and keys of one position.
struct PlainAttention {
  PlainAttention(const Gpt2Config& model, const std::vector<Array>& inputs)
      : model_(model), inputs_(inputs) {
    for (const nn::Param& param : infer::trace_params(spec_of(model), kShape))
      paths_.push_back(param.path);
  }
  const Array& param(const std::string& name) const {
    const auto found = std::find(paths_.begin(), paths_.end(), "transformer." + name);
    REQUIRE(found != paths_.end());
    return inputs_[static_cast<size_t>(found - paths_.begin())];
  }
  /// tokens, targets, segment_ids, positions
  int64_t id(size_t which, int64_t place) const {
    return static_cast<int64_t>(inputs_[paths_.size() + which].values[static_cast<size_t>(place)]);
  }
  /// Heads of queries, keys and values, one after the other.
  std::vector<double> heads(int64_t place) const {
    const int64_t embed = model_.hidden_dim;
    std::vector<double> x;
    for (int64_t e = 0; e < embed; ++e)
      x.push_back(param("wte.weight").values[static_cast<size_t>(id(0, place) * embed + e)] +
                  param("wpe.weight").values[static_cast<size_t>(id(3, place) * embed + e)]);
    double mean = 0, variance = 0;
    for (const double value : x) mean += value / static_cast<double>(embed);
    for (const double value : x) variance += std::pow(value - mean, 2) / static_cast<double>(embed);
    std::vector<double> out = param("h.0.attn.c_attn.bias").values;
    for (size_t e = 0; e < x.size(); ++e) {
      const double normed = (x[e] - mean) / std::sqrt(variance + model_.layer_norm_epsilon) *
                                param("h.0.ln_1.weight").values[e] +
                            param("h.0.ln_1.bias").values[e];
      for (size_t o = 0; o < out.size(); ++o)
        out[o] += normed * param("h.0.attn.c_attn.weight").values[e * out.size() + o];
    }
    return out;
  }
  /// Adds the entropy of a query in a head to `entropy`, and takes its largest score.
  void query(int64_t place, int64_t head, double& entropy, double& largest) const {
    const int64_t size = model_.hidden_dim / model_.num_heads, at = place % kShape.position;
    std::vector<double> scores;
    for (int64_t key = place - at; key <= place; ++key) {
      if (id(2, key) != id(2, place)) continue;
      const std::vector<double> q = heads(place), k = heads(key);
      double score = 0;
      for (int64_t d = 0; d < size; ++d)
        score += q[static_cast<size_t>(head * size + d)] *
                 k[static_cast<size_t>((model_.num_heads + head) * size + d)];
      scores.push_back(score / std::sqrt(static_cast<double>(size)));
      largest = std::max(largest, scores.back());
    }
    double total = 0;
    for (const double score : scores) total += std::exp(score);
    for (const double score : scores)
      entropy -= std::exp(score) / total * std::log(std::exp(score) / total);
  }

 private:
  const Gpt2Config& model_;
  const std::vector<Array>& inputs_;
  std::vector<std::string> paths_;
};

}  // namespace

TEST_CASE("watched attention is the mean entropy and the largest logit of the formula", "[train]") {
  Gpt2Config model = tiny_model();
  std::vector<Array> inputs = arguments(model, 0.5);
  const size_t segments = inputs.size() - 5;
  REQUIRE(inputs[segments].type.dtype == DType::i32);
  for (size_t i = 0; i < 8; ++i) inputs[segments].values[i] = i < 3 ? 0 : (i < 6 ? 1 : -1);
  const train::StepWatch watch{.every = 1, .attention = true};
  Function function = train::trace_gradients(
      spec_of(model), kShape, *models::objectives::make("lm"), Accumulate::kFirst, watch);
  std::vector<std::string> watched;
  for (const Result& result : function.results)
    if (result.name.starts_with("watch/")) watched.push_back(result.name);
  CHECK(watched == std::vector<std::string>{"watch/attention_entropy/transformer.h.0.attn",
                                            "watch/attention_max_logit/transformer.h.0.attn",
                                            "watch/attention_entropy/transformer.h.1.attn",
                                            "watch/attention_max_logit/transformer.h.1.attn"});
  const auto backend = make_backend("reference");
  const std::vector<Array> found =
      testing::run(optimise(std::move(function), *backend), inputs, *backend);
  const PlainAttention plain(model, inputs);
  double entropy = 0, largest = -INFINITY, queries = 0;
  for (int64_t place = 0; place < kShape.batch * kShape.position; ++place)
    for (int64_t head = 0; head < model.num_heads; ++head) {
      if (plain.id(2, place) < 0) continue;  // padding
      plain.query(place, head, entropy, largest);
      ++queries;
    }
  CHECK(found[found.size() - 4].values[0] == Approx(entropy / queries).epsilon(kRoundingTolerance));
  CHECK(found[found.size() - 3].values[0] == Approx(largest).epsilon(kRoundingTolerance));
  // What is trained is what it is without.
  const std::vector<Array> without = run_gradients(model, Accumulate::kFirst, inputs);
  CHECK(same_bits({found.begin(), found.end() - 4}, without));
}

TEST_CASE("the functions name their arguments, and donate what they replace", "[train]") {
  const Gpt2Config model = tiny_model();
  const auto params = infer::trace_params(spec_of(model), kShape);
  std::vector<std::string> paths;
  for (const nn::Param& param : params) paths.push_back(param.path);
  std::vector<std::string> expected = paths;
  for (const char* name : {"tokens", "targets", "segment_ids", "positions", "loss_weight",
                           "dropout_keys", "inverse_tokens"})
    expected.emplace_back(name);
  CHECK(names(gradients_of(model, Accumulate::kFirst).arguments) == expected);
  for (const std::string& path : paths) expected.push_back(train::sum_name(path));
  expected.push_back(train::sum_name("loss"));
  const Function next = gradients_of(model, Accumulate::kNext);
  CHECK(names(next.arguments) == expected);
  for (size_t i = 0; i < next.results.size(); ++i) {
    const auto donated = static_cast<size_t>(next.results[i].donated);
    CHECK(next.arguments[donated].name == train::sum_name(next.results[i].name));
    CHECK(donated == paths.size() + 7 + i);
  }

  const AdamConfig adam;
  const Function update =
      train::trace_update(spec_of(model), kShape, optim::Assignment(optim::entry("adam"), adam));
  REQUIRE(update.results.size() == 3 * paths.size() + 2);
  for (size_t i = 0; i < 3 * paths.size(); ++i) {
    const Result& result = update.results[i];
    CHECK(update.arguments[static_cast<size_t>(result.donated)].name == result.name);
  }
  CHECK(update.results[paths.size()].name == paths[0] + ".exp_avg");
  CHECK(update.results[paths.size() + 1].name == paths[0] + ".exp_avg_sq");
  CHECK(update.results[3 * paths.size()].name == "grad_norm");
  CHECK(update.results[3 * paths.size() + 1].name == "proceed");
  for (const Node& node : update.graph.nodes())
    if (!node.inputs.empty()) CHECK(node.origin.phase == Phase::kUpdate);
}

TEST_CASE("the weight of z-loss adds its share to loss and gradients, and none changes no bit",
          "[train]") {
  const Gpt2Config model = tiny_model_with_dropout();
  const std::vector<Array> inputs = arguments(model, 1.0 / 7);
  const auto backend = make_backend("reference");
  const auto gradients = [&](double z_loss) {
    return testing::run(optimise(gradients_of(model, Accumulate::kFirst, z_loss), *backend), inputs,
                        *backend);
  };
  const std::vector<Array> plain = run_gradients(model, Accumulate::kFirst, inputs);
  const std::vector<Array> none = gradients(0), one = gradients(1), two = gradients(2);
  bool moved = false;
  for (size_t i = 0; i < plain.size(); ++i)
    for (size_t k = 0; k < plain[i].values.size(); ++k) {
      CHECK(none[i].values[k] == plain[i].values[k]);
      const double share = one[i].values[k] - plain[i].values[k];
      moved = moved || share != 0;
      CHECK(two[i].values[k] - plain[i].values[k] == Approx(2 * share).epsilon(1e-9).margin(1e-12));
    }
  CHECK(moved);
  CHECK(one.back().values[0] > plain.back().values[0]);
}
