// DPO and its other losses against their formulas, on the log-probabilities of a small model.
#include <cmath>

#include "support/preferences.h"

using namespace levanter;
using namespace levanter::testing;
using Pair = models::AnswerPair<double>;

namespace {

double log_sigmoid(double x) { return std::log(1 / (1 + std::exp(-x))); }
double lead(const Pair& p) { return p.chosen_ratio - p.rejected_ratio; }

}  // namespace

TEST_CASE("dpo's loss is that of its paper", "[models]") {
  MadeUpPairs pairs("type = \"dpo\"\nbeta = 0.4");
  pairs.check_loss([](const Pair& p) { return -log_sigmoid(0.4 * lead(p)); });
  pairs.check_gradients();
  const Pair first = pairs.pairs()[0];
  CHECK(std::abs(first.chosen_ratio) > 0.1);  // the reference is another model
}

TEST_CASE("dpo takes labels to be wrong as often as it is told", "[models]") {
  MadeUpPairs pairs("type = \"dpo\"\nbeta = 0.5\nlabel_smoothing = 0.2");
  pairs.check_loss([](const Pair& p) {
    return -0.8 * log_sigmoid(0.5 * lead(p)) - 0.2 * log_sigmoid(-0.5 * lead(p));
  });
  pairs.check_gradients();
}

TEST_CASE("dpo as ipo compares means over tokens with a fixed distance", "[models]") {
  MadeUpPairs pairs("type = \"dpo\"\nbeta = 0.5\nloss = \"ipo\"");
  pairs.check_loss([](const Pair& p) {
    const double h = p.chosen_ratio / p.chosen_tokens - p.rejected_ratio / p.rejected_tokens;
    return std::pow(h - 1, 2);
  });
  pairs.check_gradients();
}

TEST_CASE("dpo as a hinge has no loss beyond a distance", "[models]") {
  MadeUpPairs pairs("type = \"dpo\"\nbeta = 0.3\nloss = \"hinge\"");
  pairs.check_loss([](const Pair& p) { return std::max(0.0, 1 - 0.3 * lead(p)); });
  pairs.check_gradients();
}

TEST_CASE("dpo without a reference asks for none", "[models]") {
  MadeUpPairs pairs("type = \"dpo\"\nbeta = 0.3\nreference_free = true");
  pairs.check_loss(
      [](const Pair& p) { return -log_sigmoid(0.3 * (p.chosen_logp - p.rejected_logp)); });
  CHECK_FALSE(pairs.asks_for("reference_logps"));
  CHECK(MadeUpPairs("type = \"dpo\"").asks_for("reference_logps"));
}

TEST_CASE("the logarithm of a sigmoid has its slope everywhere, at 0 too", "[models]") {
  const Build each = [](const auto& in) { return std::vector{models::softplus(in[0])}; };
  const Build total = [&](const auto& in) { return std::vector{sum(each(in)[0], in[0].axes())}; };
  const Array x = array({{"pair", 7}}, {-800, -3, -1e-9, 0, 1e-9, 4, 800});
  const std::vector<double> slopes = gradient(total, {x}, 0, *make_backend("reference")).values;
  const std::vector<double> values = evaluate(each, {x})[0].values;
  for (size_t i = 0; i < slopes.size(); ++i) {
    INFO(x.values[i]);
    CHECK(std::abs(slopes[i] - models::sigmoid(x.values[i])) <= kRoundingTolerance);
    CHECK(std::abs(values[i] - models::softplus(x.values[i])) <= kRoundingTolerance);
  }
  CHECK(models::softplus(-800) == 0);
  CHECK(models::softplus(800) == 800);
}
