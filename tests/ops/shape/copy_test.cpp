#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
const Axes kAxes = {{"batch", 2}, {"position", 3}, {"embed", 5}};
const Axes kOrder = {{"embed", 5}, {"batch", 2}, {"position", 3}};
}  // namespace

TEST_CASE("copy gives a view's values in its own order", "[ops]") {
  const Build f = [](const auto& in) { return std::vector{copy(transpose(in[0], kOrder))}; };
  const Array x = counting(kAxes), y = evaluate(f, {x})[0];
  CHECK(y.type.axes == kOrder);
  CHECK(difference(y, looped(kOrder, [&](const auto& where) { return at(x, where); })) == 0);
}

TEST_CASE("copy works on every type", "[ops]") {
  const Build f = [](const auto& in) { return std::vector{copy(in[0])}; };
  CHECK(evaluate(f, {ids({{"embed", 2}}, {-1, 5})})[0].values == std::vector<double>{-1, 5});
  const Array keys = random_keys({{"batch", 3}}, 1);
  CHECK(same_bits(evaluate(f, {keys}), {keys}));
}

TEST_CASE("copy's gradient is that of central differences", "[ops]") {
  const Build f = [](const auto& in) { return std::vector{copy(transpose(in[0], kOrder))}; };
  CHECK(worst_gradient_error(f, {random_real(kAxes, 1)}) < kGradientTolerance);
}
