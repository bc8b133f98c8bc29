#include <cmath>

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 3}, {"vocab", 5}, {"head", 2}};

Build over(AxisName axis) {
  return [axis](const auto& in) { return std::vector{softmax(in[0], axis)}; };
}
Build plain(AxisName axis) {
  return [axis](const auto& in) {
    const NamedArray e = exp(in[0]);
    return std::vector{e / sum(e, {{axis, in[0].axes().size_of(axis)}})};
  };
}

}  // namespace

TEST_CASE("softmax's gradient is that of central differences along any axis", "[ops]") {
  for (const char* axis : {"batch", "vocab", "head"})
    CHECK(worst_gradient_error(over(axis), {random_real(kX, 1)}) < kGradientTolerance);
  CHECK(worst_gradient_error(over("vocab"), {random_real({{"vocab", 1}}, 1)}) < kGradientTolerance);
}

TEST_CASE("softmax's own rule agrees with backprop through exponentials and a sum", "[ops]") {
  for (const char* axis : {"batch", "vocab", "head"})
    CHECK(rule_difference(over(axis), plain(axis), {random_real(kX, 1)}, 0) < kRoundingTolerance);
}

TEST_CASE("softmax takes the values of its formula", "[ops]") {
  const Array x = random_real(kX, 1);
  const Array expected = looped(kX, [&](std::vector<Index> where) {
    const double own = std::exp(at(x, where));
    double total = 0;
    for (int64_t i = 0; i < 5; ++i) {
      where[1].at = i;
      total += std::exp(at(x, where));
    }
    return own / total;
  });
  CHECK(difference(evaluate(over("vocab"), {x})[0], expected) < kRoundingTolerance);
}

TEST_CASE("softmax does not overflow and takes -inf for 0", "[ops]") {
  const Array x = array({{"vocab", 3}}, {1e300, -INFINITY, 1e300});
  CHECK(evaluate(over("vocab"), {x})[0].values == std::vector<double>{0.5, 0, 0.5});
}

TEST_CASE("softmax refuses an axis that is not there", "[ops]") {
  CHECK_THAT(trace_error(over("mlp"), {random_real(kX, 1)}),
             Catch::Contains("softmax: there is no axis mlp"));
}
