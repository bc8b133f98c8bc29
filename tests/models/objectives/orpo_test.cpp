// ORPO against its formula, on the log-probabilities of a small model.
#include <cmath>

#include "support/preferences.h"

using namespace levanter;
using namespace levanter::testing;
using Pair = models::AnswerPair<double>;

namespace {

constexpr double kDigits = 1e-12;  // of f64, where none cancel

double log_odds(double logp, double tokens) {
  const double p = std::exp(logp / tokens);
  return std::log(p / (1 - p));
}

}  // namespace

TEST_CASE("orpo's loss is that of its paper and needs no reference", "[models]") {
  MadeUpPairs pairs("type = \"orpo\"\nbeta = 0.6");
  pairs.check_loss([](const Pair& p) {
    const double odds =
        log_odds(p.chosen_logp, p.chosen_tokens) - log_odds(p.rejected_logp, p.rejected_tokens);
    return -p.chosen_logp / p.chosen_tokens - 0.6 * std::log(1 / (1 + std::exp(-odds)));
  });
  pairs.check_gradients();
  CHECK_FALSE(pairs.asks_for("reference_logps"));
}

TEST_CASE("log(1 - exp(x)) has all digits near 0 and far from it, and finite gradients",
          "[models]") {
  const Build f = [](const auto& in) { return std::vector{models::log1mexp(in[0])}; };
  const Array x = array({{"pair", 6}}, {-1e-9, -1e-3, -0.3, -0.6, -4, -80});
  const std::vector<double> y = evaluate(f, {x})[0].values;
  for (size_t i = 0; i < y.size(); ++i) {
    const long double near = std::log(-std::expm1(static_cast<long double>(x.values[i])));
    const long double far = std::log1p(-std::exp(static_cast<long double>(x.values[i])));
    const auto exact = static_cast<double>(x.values[i] > -1 ? near : far);
    CHECK(std::abs(y[i] - exact) <= kDigits * std::abs(exact));
    CHECK(std::abs(models::log1mexp(x.values[i]) - exact) <= kDigits * std::abs(exact));
  }
  const auto backend = make_backend("reference");
  const Build total = [&](const auto& in) {
    const NamedArray each = f(in)[0];
    return std::vector{sum(each, each.axes())};
  };
  for (const double g : gradient(total, {x}, 0, *backend).values) CHECK(std::isfinite(g));
}

TEST_CASE("an answer that is certain has a finite loss and finite gradients", "[models]") {
  constexpr std::pair<double, double> kCertain[] = {{0, -2}, {-2, 0}, {0, 0}};
  const auto backend = make_backend("reference");
  const auto odds = [](const auto& chosen, const auto& rejected) {
    return models::softplus(models::log1mexp(chosen) - models::log1mexp(rejected) + rejected -
                            chosen);
  };
  const Build loss = [&](const auto& in) {
    const NamedArray each = odds(in[0], in[1]);
    return std::vector{sum(each, each.axes())};
  };
  for (const DType dtype : {DType::f32, DType::f64})
    for (const auto& [chosen, rejected] : kCertain) {
      INFO(chosen << " " << rejected);
      const std::vector<Array> in = {array({{"pair", 1}}, {chosen}),
                                     array({{"pair", 1}}, {rejected})};
      CHECK(std::isfinite(odds(chosen, rejected)));
      CHECK(std::isfinite(evaluate(loss, in, *backend, dtype)[0].values[0]));
      for (size_t i = 0; i < in.size(); ++i)
        CHECK(std::isfinite(gradient(loss, in, i, *backend, dtype).values[0]));
    }
}
