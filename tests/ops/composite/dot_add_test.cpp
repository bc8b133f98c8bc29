#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kA = {{"m", 3}, {"k", 5}}, kB = {{"k", 5}, {"n", 2}};

const Build kFused = [](const auto& in) { return std::vector{dot_add(in[0], in[1], in[2])}; };
const Build kPlain = [](const auto& in) {
  return std::vector{in[0] + dot(in[1], in[2], in[0].axes())};
};

std::vector<Array> operands(const Axes& acc) {
  return {random_real(acc, 1), random_real(kA, 2), random_real(kB, 3)};
}

}  // namespace

TEST_CASE("dot_add's gradients are those of central differences", "[ops]") {
  for (const Axes& acc : std::vector<Axes>{{{"m", 3}, {"n", 2}}, {{"n", 2}, {"m", 3}}})
    CHECK(worst_gradient_error(kFused, operands(acc)) < kGradientTolerance);
}

TEST_CASE("dot_add's own rule agrees with backprop through its decomposition", "[ops]") {
  for (size_t which = 0; which < 3; ++which)
    CHECK(rule_difference(kFused, kPlain, operands({{"m", 3}, {"n", 2}}), which) <
          kRoundingTolerance);
}

TEST_CASE("dot_add has the bits of the product and one addition", "[ops]") {
  for (const Axes& acc : std::vector<Axes>{{{"m", 3}, {"n", 2}}, {{"n", 2}, {"m", 3}}})
    CHECK(same_bits(evaluate(kFused, operands(acc), DType::f32),
                    evaluate(kPlain, operands(acc), DType::f32)));
}

TEST_CASE("dot_add of an accumulator with its own square", "[ops]") {
  const Build f = [](const auto& in) {
    return std::vector{dot_add(in[0], rename(in[0], "n", "k"), rename(in[0], "m", "k"))};
  };
  const Array x = array({{"m", 2}, {"n", 2}}, {1, 2, 3, 4});
  CHECK(evaluate(f, {x})[0].values == std::vector<double>{8, 12, 18, 26});
  CHECK(worst_gradient_error(f, {x}) < kGradientTolerance);
}

TEST_CASE("dot_add refuses axes that the product lacks or would lose", "[ops]") {
  CHECK_THAT(trace_error(kFused, operands({{"x", 3}})),
             Catch::Contains("dot_add: acc has an axis that the product lacks"));
  CHECK_THAT(trace_error(kFused, operands({{"m", 3}})),
             Catch::Contains("the axis n would be summed but only one operand has it"));
  CHECK_THAT(trace_error(kFused, {random_real({}, 1), random_real({{"k", 2}}, 1),
                                  random_real({{"k", 3}}, 1)}),
             Catch::Contains("a shared axis has two sizes"));
  CHECK_THAT(
      trace_error(kFused, {ids({}, {1}), random_real({{"k", 2}}, 1), random_real({{"k", 2}}, 1)}),
      Catch::Contains("operands of two types"));
}
