// Objectives of preferences in the graph: sums over the segments of rows, and the loss of each
// pair.
#include "models/pair_loss.h"

#include "base/error.h"
#include "base/strings.h"
#include "data/rows/example.h"

namespace levanter::models {

namespace {

NamedArray filled(NamedArray like, double value) {
  return broadcast(constant(like.graph(), value, like.dtype()), like.axes());
}

}  // namespace

NamedArray softplus(NamedArray x) {
  // The slope at 0 is a half from either side; one by |x| would be 0 or 1 there, where a model that
  // is its own reference begins.
  const NamedArray zero = filled(x, 0);
  const NamedArray below = map(Map::kLog1p, exp(map(Map::kMin, x, zero)));
  const NamedArray above = x + map(Map::kLog1p, exp(-map(Map::kMax, x, zero)));
  return select(map(Map::kLess, x, zero), below, above);
}

NamedArray log1mexp(NamedArray x) {
  constexpr double kBorder = -0.5;
  x = map(Map::kMin, x, filled(x, kAlmostCertain));
  const NamedArray border = filled(x, kBorder);
  const NamedArray is_near = map(Map::kLess, border, x);
  // 1 - exp(x) = 2 t / (1 + t) with t = tanh(-x / 2), of which no digits cancel near 0. Each side
  // is given arguments of its own only, so that the other has no infinite gradient.
  const NamedArray t = tanh(map(Map::kMax, x, border) * -0.5);
  const NamedArray far = map(Map::kLog1p, -exp(map(Map::kMin, x, border)));
  return select(is_near, log(t * 2.0 / (t + 1.0)), far);
}

namespace {

const AxisName kPair("pair"), kAnswer("answer"), kSegment("segment");

class PairReader final {
 public:
  explicit PairReader(BatchInputs& inputs)
      : weight_(inputs("loss_weight")), segment_ids_(inputs("segment_ids")) {
    const int64_t positions = weight_.axes().size_of("position");
    pairs_ = std::max<int64_t>(1, std::min(data::kMostSegments, positions) / 2);
    tokens_ = of_answers(weight_);
    there_ = map(Map::kLess, filled(of(tokens_, 0), 0), of(tokens_, 0));
  }

  NamedArray count() const { return sum(there_, there_.axes()); }
  /// The sum over all pairs.
  NamedArray total(NamedArray of_pairs) const {
    const NamedArray kept = select(there_, of_pairs, filled(of_pairs, 0));
    return sum(kept, kept.axes());
  }
  /// The pairs of a microbatch; where a row has fewer than another, numbers that do no harm.
  AnswerPair<NamedArray> read(NamedArray logps, NamedArray references) const {
    AnswerPair<NamedArray> a;
    a.chosen_tokens = or_else(of(tokens_, 0), 1);
    a.rejected_tokens = or_else(of(tokens_, 1), 1);
    const NamedArray sums = of_answers(logps * weight_);
    a.chosen_logp = or_else(of(sums, 0), -1);
    a.rejected_logp = or_else(of(sums, 1), -1);
    if (!references) return a;
    // Differences first: what is added up is small then.
    const NamedArray ratios = of_answers((logps - references) * weight_);
    a.chosen_ratio = of(ratios, 0);
    a.rejected_ratio = of(ratios, 1);
    const NamedArray least_one = map(Map::kMax, count(), filled(count(), 1));
    a.mean_chosen_ratio = stop_gradient(total(a.chosen_ratio) / least_one);
    a.mean_rejected_ratio = stop_gradient(total(a.rejected_ratio) / least_one);
    return a;
  }

 private:
  /// Sums over the tokens of each segment: [batch, pair, answer].
  NamedArray of_answers(NamedArray of_tokens) const {
    Axes axes = without(of_tokens.axes(), "position");
    axes.push_back({kSegment, pairs_ * 2});
    const NamedArray sums = scatter_add(of_tokens, axes, kSegment, segment_ids_);
    return split_axis(sums, kSegment, {{kPair, pairs_}, {kAnswer, 2}});
  }
  static NamedArray of(NamedArray answers, int which) {
    return gather(answers, kAnswer, constant(answers.graph(), which, DType::i32));
  }
  NamedArray or_else(NamedArray of_pairs, double otherwise) const {
    return select(there_, of_pairs, filled(of_pairs, otherwise));
  }

  NamedArray weight_, segment_ids_, tokens_;
  NamedArray there_;  ///< 1 or 0, [batch, pair]
  int64_t pairs_ = 0;
};

class Preference final : public Objective {
 public:
  Preference(std::unique_ptr<const PairLoss> loss, bool needs_reference)
      : loss_(std::move(loss)), needs_reference_(needs_reference) {}

  Loss loss(const LanguageModel& model, BatchInputs& inputs) const override {
    inputs("tokens");  // the first of the arguments
    const NamedArray targets = inputs("targets");
    LmBatch batch = batch_of(inputs);
    const PairReader reader(inputs);
    const NamedArray references = needs_reference_ ? inputs("reference_logps") : NamedArray();
    batch.dropout_keys = inputs(kDropoutKeys);
    const NamedArray inverse_pairs = inputs(kInverseTokens);
    Loss loss;
    batch.measures = &loss.measures;
    const NamedArray h = model.hidden(batch);
    const NamedArray losses = token_losses_of(model, h, targets, inputs("loss_weight"));
    const AnswerPair<NamedArray> a = reader.read(-losses, references);
    const auto mean = [&](NamedArray of_pairs) { return reader.total(of_pairs) * inverse_pairs; };
    const PairTerms<NamedArray> terms = loss_->of(a);
    loss.value = mean(terms.loss);
    const NamedArray margins = terms.chosen_reward - terms.rejected_reward;
    const auto report = [&](const char* name, NamedArray of_pairs) {
      loss.measures.push_back({cat("train/", name), mean(of_pairs), 0, true});
    };
    report("rewards/chosen", terms.chosen_reward);
    report("rewards/rejected", terms.rejected_reward);
    report("rewards/margins", margins);
    report("rewards/accuracies", map(Map::kLess, filled(margins, 0), margins));
    report("logps/chosen", a.chosen_logp);
    report("logps/rejected", a.rejected_logp);
    return loss;
  }

  NamedArray share(BatchInputs& inputs) const override {
    return PairReader(inputs).count() * inputs(kInverseTokens);
  }
  const PairLoss* pair_loss() const override { return loss_.get(); }

 private:
  std::unique_ptr<const PairLoss> loss_;
  bool needs_reference_;
};

}  // namespace

std::unique_ptr<const Objective> preference_objective(std::unique_ptr<const PairLoss> loss,
                                                      bool needs_reference) {
  return std::make_unique<Preference>(std::move(loss), needs_reference);
}

namespace {

using NamedNumbers = std::vector<std::pair<std::string, double>>;

NamedNumbers metrics_of(const PairLoss* loss, const AnswerPair<double>& pair) {
  NamedNumbers metrics;
  const auto compare = [&](const std::string& of, double chosen, double rejected) {
    metrics.emplace_back(cat(of, "/margins"), chosen - rejected);
    metrics.emplace_back(cat(of, "/accuracies"), chosen > rejected ? 1.0 : 0.0);
  };
  if (loss) {
    const PairTerms<double> terms = loss->of(pair);
    metrics = {{"loss", terms.loss},
               {"rewards/chosen", terms.chosen_reward},
               {"rewards/rejected", terms.rejected_reward}};
    compare("rewards", terms.chosen_reward, terms.rejected_reward);
  }
  metrics.emplace_back("logps/chosen", pair.chosen_logp);
  metrics.emplace_back("logps/rejected", pair.rejected_logp);
  if (!loss) compare("logps", pair.chosen_logp, pair.rejected_logp);
  return metrics;
}

}  // namespace

std::vector<std::pair<std::string, double>> pair_metrics(const PairLoss* loss,
                                                         std::vector<AnswerPair<double>> pairs) {
  if (pairs.empty()) return {};
  const auto count = static_cast<double>(pairs.size());
  double chosen_ratios = 0, rejected_ratios = 0;
  for (const AnswerPair<double>& pair : pairs) {
    chosen_ratios += pair.chosen_ratio;
    rejected_ratios += pair.rejected_ratio;
  }
  std::vector<std::pair<std::string, double>> metrics;
  for (AnswerPair<double>& pair : pairs) {
    pair.mean_chosen_ratio = chosen_ratios / count;
    pair.mean_rejected_ratio = rejected_ratios / count;
    const NamedNumbers own = metrics_of(loss, pair);
    if (metrics.empty())
      metrics = own;
    else
      for (size_t i = 0; i < metrics.size(); ++i) metrics[i].second += own[i].second;
  }
  for (auto& [name, total] : metrics) total /= count;
  return metrics;
}

}  // namespace levanter::models
