// KTO on pairs against its formula, on the log-probabilities of a small model.
#include <cmath>

#include "support/preferences.h"

using namespace levanter;
using namespace levanter::testing;
using Pair = models::AnswerPair<double>;

namespace {

constexpr double kBeta = 0.5, kUndesirable = 1.5;

/// The same loss with given numbers in place of the means.
struct FixedMeans {
  double chosen, rejected;

  template <class T>
  models::PairTerms<T> operator()(const models::AnswerPair<T>& pair) const {
    using models::sigmoid;
    const T good = pair.chosen_ratio - rejected, bad = chosen - pair.rejected_ratio;
    return {(1.0 - sigmoid(good * kBeta)) * 0.5 + (1.0 - sigmoid(bad * kBeta)) * (kUndesirable / 2),
            pair.chosen_ratio, pair.rejected_ratio};
  }
};

MadeUpPairs made_up() {
  return MadeUpPairs("type = \"kto\"\nbeta = 0.5\nundesirable_weight = 1.5");
}

}  // namespace

TEST_CASE("kto measures each answer from the mean of the other kind", "[models]") {
  made_up().check_loss([](const Pair& p) {
    const double chosen_kl = std::max(0.0, p.mean_chosen_ratio);
    const double rejected_kl = std::max(0.0, p.mean_rejected_ratio);
    return (1 - models::sigmoid(kBeta * (p.chosen_ratio - rejected_kl))) / 2 +
           kUndesirable * (1 - models::sigmoid(kBeta * (chosen_kl - p.rejected_ratio))) / 2;
  });
}

TEST_CASE("the means that kto measures from are constants to its gradient", "[models]") {
  const MadeUpPairs pairs = made_up();
  const Pair any = pairs.pairs()[0];
  const double chosen = std::max(0.0, any.mean_chosen_ratio),
               rejected = std::max(0.0, any.mean_rejected_ratio);
  REQUIRE(chosen + rejected > 0);  // so that some mean matters
  MadeUpPairs fixed(models::preference_objective(FixedMeans{chosen, rejected}, true));
  fixed.check_gradients();
  const std::vector<Array> found = pairs.gradients(), expected = fixed.gradients();
  for (size_t i = 0; pairs.names()[i] != "loss"; ++i)
    CHECK(difference(found[i], expected[i]) <= kRoundingTolerance);
}
