// What preference objectives are: a function of the log-probabilities of the answers of a pair.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/objective.h"

namespace levanter::models {

/// What a loss of preferences sees of pairs: values of the graph for many, [batch, pair], or
/// numbers for one. Answers are without their prompts.
template <class T>
struct AnswerPair {
  T chosen_logp, rejected_logp;      ///< log-probabilities, summed over the answer's tokens
  T chosen_tokens, rejected_tokens;  ///< how many there are, at least 1
  /// log(p / reference p) of the answers; where no reference is wanted, empty or as good as logp.
  T chosen_ratio, rejected_ratio;
  /// Their means over all pairs that are computed together; constants to the gradient.
  T mean_chosen_ratio, mean_rejected_ratio;
};

template <class T>
struct PairTerms {
  T loss;
  T chosen_reward, rejected_reward;  ///< what the metrics call so
};

/// The loss of a pair, of many at once in a graph and of one by numbers.
class PairLoss {
 public:
  virtual ~PairLoss() = default;
  virtual PairTerms<NamedArray> of(const AnswerPair<NamedArray>& pair) const = 0;
  virtual PairTerms<double> of(const AnswerPair<double>& pair) const = 0;
};

/// One formula for both: a function object that takes an AnswerPair of either.
template <class Formula>
class PairLossOf final : public PairLoss {
 public:
  explicit PairLossOf(Formula formula) : formula_(std::move(formula)) {}
  PairTerms<NamedArray> of(const AnswerPair<NamedArray>& pair) const override {
    return formula_(pair);
  }
  PairTerms<double> of(const AnswerPair<double>& pair) const override { return formula_(pair); }

 private:
  Formula formula_;
};

// What formulas are written in besides the signs of arithmetic.
inline double relu(double x) { return std::max(x, 0.0); }
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
/// log(1 + exp(x)) = -log sigmoid(-x), and does not overflow.
inline double softplus(double x) { return relu(x) + std::log1p(std::exp(-std::abs(x))); }
NamedArray softplus(NamedArray x);
/// softplus(-h), where a share of the pairs is taken to be in the wrong order:
///   (1 - label_smoothing) softplus(-h) + label_smoothing softplus(h)
template <class T>
T smoothed_loss(const T& h, double label_smoothing) {
  const T loss = softplus(-h) * (1 - label_smoothing);
  return label_smoothing > 0 ? loss + softplus(h) * label_smoothing : loss;
}
/// log(1 - exp(x)) of x <= kAlmostCertain, exact for those near 0 too; of a larger one that of
/// kAlmostCertain, so that a certain answer, x = 0, has a loss and a slope.
inline constexpr double kAlmostCertain = -1e-30;
inline double log1mexp(double x) {
  x = std::min(x, kAlmostCertain);
  return x > -0.5 ? std::log(-std::expm1(x)) : std::log1p(-std::exp(x));
}
NamedArray log1mexp(NamedArray x);

/// The objective of a loss: the mean over the pairs of the global batch.
///   needs_reference  whether the loss reads ratios
std::unique_ptr<const Objective> preference_objective(std::unique_ptr<const PairLoss> loss,
                                                      bool needs_reference);
template <class Formula>
std::unique_ptr<const Objective> preference_objective(Formula formula, bool needs_reference) {
  return preference_objective(
      std::unique_ptr<const PairLoss>(std::make_unique<PairLossOf<Formula>>(std::move(formula))),
      needs_reference);
}

/// The metrics of pairs by their names, "loss" the first: means over all of them, in their order.
/// The means of ratios are filled in. Empty for no pairs. Without a loss the log-probabilities,
/// and in place of rewards their margins and how often the chosen answer has the larger one.
std::vector<std::pair<std::string, double>> pair_metrics(const PairLoss* loss,
                                                         std::vector<AnswerPair<double>> pairs);

}  // namespace levanter::models
