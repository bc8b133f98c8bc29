// Made-up rows of pairs, the loss of a small model on them, and each pair's log-probabilities.
#include "support/preferences.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "config/bind.h"
#include "config/document.h"
#include "passes/passes.h"
#include "train/engine/step.h"

namespace levanter::testing {

namespace {

constexpr int64_t kRows = 3, kPairsOfRows = 3;
/// Positions of the segments of each row; what is left is padding.
const std::vector<std::vector<int>> kSegments = {{4, 3, 5, 2}, {6, 7}, {}};
constexpr double kFormulaTolerance = 1e-10;  // f64 sums in another order
constexpr double kStep = 1e-5;
constexpr double kDifferenceTolerance = 1e-6;  // of central differences in f64

Gpt2Config pair_model() {
  Gpt2Config model = tiny_model();
  model.max_seq_len = 14;
  model.num_layers = 1;
  model.hidden_dim = 4;
  return model;
}

std::shared_ptr<const models::Objective> objective_of(const std::string& toml) {
  struct Holder {
    config::Choice<ObjectiveConfig> objective;
    void fields(config::Fields& f) { f("objective", objective, "what is learned"); }
  } holder;
  config::Sources sources;
  config::Problems problems(sources);
  const config::Value root =
      config::parse_document(cat("[objective]\n", toml, "\n"), "o.toml", {}, problems);
  config::bind(root, config::type_of<Holder>(), &holder, sources, problems);
  problems.raise("o.toml");
  return holder.objective->make({});
}

data::Example made_up_pairs(int64_t positions) {
  data::Example rows(static_cast<size_t>(kRows * positions));
  rows.reference_logps.resize(rows.tokens.size());
  const Key key = key_from_seed(3);
  for (int64_t row = 0; row < kRows; ++row) {
    auto at = static_cast<size_t>(row * positions);
    int32_t segment = 0;
    for (const int length : kSegments[static_cast<size_t>(row)]) {
      for (int t = 0; t < length; ++t, ++at) {
        rows.tokens[at] = static_cast<int32_t>(random_below(key, at, kVocab));
        rows.targets[at] = static_cast<int32_t>(random_below(key, at + 500, kVocab));
        rows.segment_ids[at] = segment;
        rows.positions[at] = t;
        rows.loss_weight[at] = t == 0 ? 0.0f : 1.0f;  // of the prompt
        if (t > 0)
          rows.reference_logps[at] =
              -2.5f - static_cast<float>(random_below(key, at + 900, 64)) / 64;
      }
      ++segment;
    }
    for (; at < static_cast<size_t>((row + 1) * positions); ++at) rows.positions[at] = 0;
  }
  return rows;
}

}  // namespace

MadeUpPairs::MadeUpPairs(const std::string& objective) : MadeUpPairs(objective_of(objective)) {}

MadeUpPairs::MadeUpPairs(std::shared_ptr<const models::Objective> objective)
    : model_(pair_model()),
      objective_(std::move(objective)),
      rows_(made_up_pairs(model_.max_seq_len)),
      function_(train::trace_gradients({models::entry("gpt2"), model_},
                                       {kRows, model_.max_seq_len, kVocab, DType::f64}, *objective_,
                                       train::Accumulate::kFirst)) {
  const auto params = infer::trace_params({models::entry("gpt2"), model_},
                                          {kRows, model_.max_seq_len, kVocab, DType::f64});
  for (const Argument& argument : function_.arguments) {
    Array array{argument.type, {}};
    if (inputs_.size() < params.size()) {
      array = random_array(argument.type, static_cast<uint32_t>(inputs_.size()) + 50);
      for (double& x : array.values)
        x = x * 0.8 + (params[inputs_.size()].role == nn::Role::kNorm ? 1 : 0);
    } else if (argument.name == models::kDropoutKeys) {
      array = random_keys({argument.type.axes[0]}, 3);
    } else if (argument.name == models::kInverseTokens) {
      array.values = {1.0 / kPairsOfRows};
    } else {
      data::for_each_array([&](std::string_view name, auto field) {
        if (argument.name == name)
          array.values.assign((rows_.*field).begin(), (rows_.*field).end());
      });
    }
    inputs_.push_back(std::move(array));
  }
}

std::vector<Array> MadeUpPairs::gradients() const {
  const auto backend = make_backend("reference");
  return testing::run(optimise(duplicate(function_), *backend), inputs_, *backend);
}

std::vector<std::string> MadeUpPairs::names() const {
  std::vector<std::string> names;
  for (const Result& result : function_.results) names.push_back(result.name);
  return names;
}

bool MadeUpPairs::asks_for(std::string_view argument) const {
  return std::any_of(function_.arguments.begin(), function_.arguments.end(),
                     [&](const Argument& a) { return a.name == argument; });
}

double MadeUpPairs::result(const std::string& name) const {
  const std::vector<std::string> all = names();
  const auto found = std::find(all.begin(), all.end(), name);
  REQUIRE(found != all.end());
  return gradients()[static_cast<size_t>(found - all.begin())].values.at(0);
}

std::vector<models::AnswerPair<double>> MadeUpPairs::pairs() const {
  Function evaluation =
      infer::trace_evaluation({models::entry("gpt2"), model_},
                              {kRows, model_.max_seq_len, kVocab, DType::f64}, *objective_);
  std::vector<Array> inputs;
  for (const Argument& argument : evaluation.arguments)
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (function_.arguments[i].name == argument.name) inputs.push_back(inputs_[i]);
  const auto backend = make_backend("reference");
  const std::vector<double> losses =
      testing::run(optimise(evaluation, *backend), inputs, *backend)[0].values;
  std::vector<models::AnswerPair<double>> pairs;
  const auto positions = static_cast<size_t>(model_.max_seq_len);
  for (size_t row = 0; row < kRows; ++row) {
    const size_t first = pairs.size();
    pairs.resize(first + kSegments[row].size() / 2);
    for (size_t at = row * positions; at < (row + 1) * positions; ++at) {
      if (rows_.loss_weight[at] == 0) continue;
      const auto segment = static_cast<size_t>(rows_.segment_ids[at]);
      models::AnswerPair<double>& pair = pairs[first + segment / 2];
      const bool chosen = segment % 2 == 0;
      (chosen ? pair.chosen_logp : pair.rejected_logp) -= losses[at];
      (chosen ? pair.chosen_ratio : pair.rejected_ratio) -=
          losses[at] + static_cast<double>(rows_.reference_logps[at]);
      (chosen ? pair.chosen_tokens : pair.rejected_tokens) += 1;
    }
  }
  REQUIRE(pairs.size() == kPairsOfRows);
  double chosen = 0, rejected = 0;
  for (const models::AnswerPair<double>& pair : pairs) {
    chosen += pair.chosen_ratio / kPairsOfRows;
    rejected += pair.rejected_ratio / kPairsOfRows;
  }
  for (models::AnswerPair<double>& pair : pairs) {
    pair.mean_chosen_ratio = chosen;
    pair.mean_rejected_ratio = rejected;
  }
  return pairs;
}

void MadeUpPairs::check_loss(
    const std::function<double(const models::AnswerPair<double>& pair)>& loss) const {
  double mean = 0;
  for (const models::AnswerPair<double>& pair : pairs()) mean += loss(pair) / kPairsOfRows;
  REQUIRE(std::isfinite(mean));
  CHECK(std::abs(result("loss") - mean) <= kFormulaTolerance * std::max(1.0, std::abs(mean)));
  // Evaluation computes the same of numbers.
  for (const auto& [name, value] : models::pair_metrics(objective_->pair_loss(), pairs())) {
    INFO(name);
    CHECK(std::abs(result(name == "loss" ? name : cat("train/", name)) - value) <=
          kFormulaTolerance * std::max(1.0, std::abs(value)));
  }
}

double MadeUpPairs::loss_with(size_t argument, size_t element, double value) {
  const double kept = inputs_[argument].values[element];
  inputs_[argument].values[element] = value;
  const double loss = result("loss");
  inputs_[argument].values[element] = kept;
  return loss;
}

void MadeUpPairs::check_gradients() {
  const std::vector<Array> exact = gradients();
  const std::vector<std::string> all = names();
  const auto count = static_cast<size_t>(std::find(all.begin(), all.end(), "loss") - all.begin());
  double largest = 0;
  for (size_t p = 0; p < count; ++p)
    for (const double g : exact[p].values) largest = std::max(largest, std::abs(g));
  REQUIRE(largest > 1e-3);
  for (size_t p = 0; p < count; ++p)
    for (size_t i = 0; i < exact[p].values.size(); i += 7) {
      const double x = inputs_[p].values[i];
      const double slope = (loss_with(p, i, x + kStep) - loss_with(p, i, x - kStep)) / (2 * kStep);
      INFO(all[p] << ", element " << i);
      REQUIRE(std::abs(slope - exact[p].values[i]) <= kDifferenceTolerance * largest);
    }
}

}  // namespace levanter::testing
