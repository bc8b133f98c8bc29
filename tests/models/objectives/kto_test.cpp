// KTO on pairs against its formula, on the log-probabilities of a small model.
#include <cmath>

#include "support/preferences.h"

using namespace levanter;
using namespace levanter::testing;
using Pair = models::AnswerPair<double>;

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE("kto measures each answer from the mean of the other kind", "[models]") {
  MadeUpPairs pairs("type = \"kto\"\nbeta = 0.5\nundesirable_weight = 1.5");
  pairs.check_loss([](const Pair& p) {
    const double chosen_kl = std::max(0.0, p.mean_chosen_ratio);
    const double rejected_kl = std::max(0.0, p.mean_rejected_ratio);
    return (1 - sigmoid(0.5 * (p.chosen_ratio - rejected_kl))) / 2 +
           1.5 * (1 - sigmoid(0.5 * (chosen_kl - p.rejected_ratio))) / 2;
  });
}
