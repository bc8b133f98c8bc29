#include <cmath>
#include <numbers>

#include "support/checks.h"

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

TEST_CASE("gelu's own rule agrees with backprop through its formulas", "[ops]") {
  const Build tanh_formula = [](const auto& in) {
    const NamedArray x = in[0];
    return std::vector{x * 0.5 *
                       (tanh((x + x * x * x * 0.044715) * std::sqrt(2 / std::numbers::pi)) + 1.0)};
  };
  const Build erf_formula = [](const auto& in) {
    return std::vector{in[0] * 0.5 * (map(Map::kErf, in[0] / std::sqrt(2.0)) + 1.0)};
  };
  const auto fused = [](Gelu kind) {
    return [kind](const std::vector<NamedArray>& in) { return std::vector{gelu(in[0], kind)}; };
  };
  const Array x = random_array(kX, 1);
  CHECK(rule_difference(fused(Gelu::kTanh), tanh_formula, {x}, 0) < kRoundingTolerance);
  CHECK(rule_difference(fused(Gelu::kErf), erf_formula, {x}, 0) < kRoundingTolerance);
}

TEST_CASE("gelu of integers is refused on every backend", "[ops]") {
  const Array ids = random_ids({{"embed", 3}}, 5, 1);
  for (const char* name : {"reference", "cpu"})
    CHECK_THROWS(evaluate([](const auto& in) { return std::vector{gelu(in[0], Gelu::kTanh)}; },
                          {ids}, *make_backend(name), DType::f32));
}
