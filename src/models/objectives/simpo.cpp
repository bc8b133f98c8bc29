// SimPO (Meng, Xia & Chen 2024, arXiv:2405.14734): the mean log-probability of an answer's tokens
// as its reward, and a margin; no reference.
#include "models/pair_loss.h"

namespace levanter::models::objectives {

namespace {

/// With the reward r = beta logp / tokens of an answer:
///   softplus(-(r of the chosen - r of the rejected one - gamma)), labels smoothed as in DPO
struct SimpoFormula {
  double beta = 2, gamma = 1, label_smoothing = 0;

  template <class T>
  PairTerms<T> operator()(const AnswerPair<T>& pair) const {
    const T chosen = pair.chosen_logp / pair.chosen_tokens * beta;
    const T rejected = pair.rejected_logp / pair.rejected_tokens * beta;
    const T h = chosen - rejected - gamma;
    return {smoothed_loss(h, label_smoothing), chosen, rejected};
  }
};

struct SimpoConfig final : ObjectiveConfig {
  SimpoFormula formula;

  void fields(config::Fields& f) override {
    f("beta", formula.beta, "what an answer's mean log-probability is multiplied by").above(0);
    f("gamma", formula.gamma, "by how much the chosen answer's reward is to be the larger")
        .at_least(0);
    f("label_smoothing", formula.label_smoothing,
      "the share of pairs whose answers are taken to be in the wrong order")
        .at_least(0)
        .below(0.5);
  }
  std::unique_ptr<const Objective> make(const ObjectiveOptions&) const override {
    return preference_objective(formula, false);
  }
  bool learns_pairs() const override { return true; }
};

}  // namespace

extern const ObjectiveEntry simpo_entry;
const ObjectiveEntry simpo_entry = {
    .name = "simpo",
    .summary =
        "the chosen answer's tokens more likely than the rejected one's by a margin, without "
        "a reference",
    .make_config = config::make_choice<SimpoConfig>};

}  // namespace levanter::models::objectives
