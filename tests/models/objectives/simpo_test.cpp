// SimPO against its formula, on the log-probabilities of a small model.
#include <cmath>

#include "support/preferences.h"

using namespace levanter;
using namespace levanter::testing;
using Pair = models::AnswerPair<double>;

TEST_CASE("simpo's loss is that of its paper and needs no reference", "[models]") {
  MadeUpPairs pairs("type = \"simpo\"\nbeta = 2.5\ngamma = 0.7");
  pairs.check_loss([](const Pair& p) {
    const double h = 2.5 * (p.chosen_logp / p.chosen_tokens - p.rejected_logp / p.rejected_tokens);
    return -std::log(1 / (1 + std::exp(-(h - 0.7))));
  });
  pairs.check_gradients();
  CHECK_FALSE(pairs.asks_for("reference_logps"));
}

TEST_CASE("simpo takes labels to be wrong as often as it is told", "[models]") {
  MadeUpPairs("type = \"simpo\"\nlabel_smoothing = 0.1").check_loss([](const Pair& p) {
    const double h =
        2 * (p.chosen_logp / p.chosen_tokens - p.rejected_logp / p.rejected_tokens) - 1;
    return 0.9 * std::log(1 + std::exp(-h)) + 0.1 * std::log(1 + std::exp(h));
  });
}
