#include "support/evaluate.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
const Type kX{DType::f64, {{"batch", 3}, {"embed", 7}}};
}

TEST_CASE("gelu's gradients are those of central differences", "[ops]") {
  for (const Gelu kind : {Gelu::kTanh, Gelu::kErf}) {
    const Build f = [kind](const auto& in) { return std::vector{gelu(in[0], kind)}; };
    CHECK(gradient_error(f, {random_array(kX, 1)}, 0) < kGradientTolerance);
  }
}

TEST_CASE("gelu takes the values of its formulas", "[ops]") {
  const Array x{{DType::f64, {{"embed", 3}}}, {-1, 0, 2}};
  const auto tanh =
      evaluate([](const auto& in) { return std::vector{gelu(in[0], Gelu::kTanh)}; }, {x});
  CHECK(tanh[0].values[0] == Approx(-0.15880800939172324));
  CHECK(tanh[0].values[1] == 0);
  CHECK(tanh[0].values[2] == Approx(1.954597694087775));
  const auto erf =
      evaluate([](const auto& in) { return std::vector{gelu(in[0], Gelu::kErf)}; }, {x});
  CHECK(erf[0].values[0] == Approx(-0.15865525393145707));
  CHECK(erf[0].values[2] == Approx(1.9544997361036416));
}
