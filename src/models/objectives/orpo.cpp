// ORPO (Hong, Lee & Thorne 2024, arXiv:2403.07691): the chosen answer learned as a text, and its
// odds raised above the rejected one's; no reference.
#include "models/pair_loss.h"

namespace levanter::models::objectives {

namespace {

/// With x = logp / tokens of an answer and log odds(x) = x - log(1 - exp(x)):
///   -x of the chosen one + beta softplus(-(log odds of the chosen - log odds of the rejected))
/// The reward of an answer is beta x. beta is the paper's lambda.
struct OrpoFormula {
  double beta = 0.1;

  template <class T>
  PairTerms<T> operator()(const AnswerPair<T>& pair) const {
    const T chosen = pair.chosen_logp / pair.chosen_tokens;
    const T rejected = pair.rejected_logp / pair.rejected_tokens;
    const T odds = chosen - rejected - (log1mexp(chosen) - log1mexp(rejected));
    return {softplus(-odds) * beta - chosen, chosen * beta, rejected * beta};
  }
};

struct OrpoConfig final : ObjectiveConfig {
  OrpoFormula formula;

  void fields(config::Fields& f) override {
    f("beta", formula.beta, "the weight of the ratio of odds beside the chosen answer's loss")
        .above(0);
  }
  std::unique_ptr<const Objective> make(const ObjectiveOptions&) const override {
    return preference_objective(formula, false);
  }
  bool learns_pairs() const override { return true; }
};

}  // namespace

extern const ObjectiveEntry orpo_entry;
const ObjectiveEntry orpo_entry = {
    .name = "orpo",
    .summary =
        "the chosen answer learned, and its odds raised above the rejected one's, without a "
        "reference",
    .make_config = config::make_choice<OrpoConfig>};

}  // namespace levanter::models::objectives
