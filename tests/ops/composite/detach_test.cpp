#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("detach gives the values of its operand, and its gradient goes nowhere", "[ops]") {
  const Axes axes = {{"batch", 2}, {"embed", 3}};
  const Array x = random_real(axes, 1);
  const Build alone = [](const auto& in) { return std::vector{detach(in[0])}; };
  CHECK(evaluate(alone, {x})[0].values == x.values);
  const Build product = [](const auto& in) { return std::vector{in[0] * detach(in[0])}; };
  const Build constant = [](const auto& in) { return std::vector{in[0] * in[1]}; };
  const auto gradient = [&](const Build& build, std::vector<Array> in) {
    return evaluate(
        [&build](const std::vector<NamedArray>& args) {
          const NamedArray y = build(args)[0];
          return backprop(sum(y, y.axes()), std::span(args.data(), 1));
        },
        std::move(in))[0];
  };
  CHECK(gradient(product, {x}).values == gradient(constant, {x, x}).values);
}
