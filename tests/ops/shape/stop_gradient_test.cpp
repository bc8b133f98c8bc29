#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"position", 3}};

}  // namespace

TEST_CASE("stop_gradient changes no value", "[ops]") {
  const Build stopped = [](const auto& in) { return std::vector{stop_gradient(in[0])}; };
  const Array x = counting(kX);
  CHECK(evaluate(stopped, {x})[0].values == x.values);
}

TEST_CASE("what is stopped is a constant to the gradient", "[ops]") {
  const Build stopped = [](const auto& in) { return std::vector{stop_gradient(in[0]) * in[0]}; };
  const Build constant = [](const auto& in) { return std::vector{in[1] * in[0]}; };
  const Array x = random_real(kX, 1);
  CHECK(rule_difference(stopped, constant, {x, x}, 0) == 0);
  const Build whole = [](const auto& in) { return std::vector{in[0] * in[0]}; };
  CHECK(rule_difference(stopped, whole, {x, x}, 0) > 0);
}
