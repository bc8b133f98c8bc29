// KTO (Ethayarajh et al. 2024, arXiv:2402.01306) on pairs: an answer is good or bad by itself,
// measured from how far the model has moved on the answers of the other kind.
#include "models/pair_loss.h"

namespace levanter::models::objectives {

namespace {

/// With r = log(p / reference p) of an answer and, for each kind of answers, z = max(0, mean of r
/// over the pairs that are computed together), a constant to the gradient:
///   (wanted (1 - sigmoid(beta (r of the chosen - z of the rejected)))
///    + unwanted (1 - sigmoid(beta (z of the chosen - r of the rejected)))) / 2
/// as TRL's "kto_pair" has it. The reward of an answer is beta r.
struct KtoFormula {
  double beta = 0.1, desirable_weight = 1, undesirable_weight = 1;

  template <class T>
  PairTerms<T> operator()(const AnswerPair<T>& pair) const {
    const T good = pair.chosen_ratio - relu(pair.mean_rejected_ratio);
    const T bad = relu(pair.mean_chosen_ratio) - pair.rejected_ratio;
    const T loss = sigmoid(good * -beta) * (desirable_weight / 2) +
                   sigmoid(bad * -beta) * (undesirable_weight / 2);
    return {loss, pair.chosen_ratio * beta, pair.rejected_ratio * beta};
  }
};

struct KtoConfig final : ObjectiveConfig {
  KtoFormula formula;

  void fields(config::Fields& f) override {
    f("beta", formula.beta, "how dear it is to move away from the reference").above(0);
    f("desirable_weight", formula.desirable_weight, "weight of the chosen answers").above(0);
    f("undesirable_weight", formula.undesirable_weight, "weight of the rejected answers").above(0);
  }
  std::unique_ptr<const Objective> make(const ObjectiveOptions&) const override {
    return preference_objective(formula, true);
  }
  bool learns_pairs() const override { return true; }
  bool needs_reference() const override { return true; }
};

}  // namespace

extern const ObjectiveEntry kto_entry;
const ObjectiveEntry kto_entry = {
    .name = "kto",
    .summary =
        "chosen answers good and rejected ones bad, each by itself, measured from the model "
        "that the run begins with",
    .make_config = config::make_choice<KtoConfig>};

}  // namespace levanter::models::objectives
