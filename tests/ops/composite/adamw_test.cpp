#include <cmath>

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr AdamwOptions kOptions = {
    .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-6, .weight_decay = 0.1};

const Build kStep = [](const auto& in) {
  const AdamwState out =
      adamw(in[0], in[1], in[2], in[3], {in[4], in[5], in[6], in[7], in[8]}, kOptions);
  return std::vector{out.param, out.m, out.v};
};

Array scalar(double x) { return array({}, {x}); }

/// param grad m v lr scale correction1 correction2 proceed, before step t.
std::vector<Array> operands(const Axes& axes, int t, double proceed) {
  return {random_real(axes, 1),
          random_real(axes, 2),
          random_real(axes, 3),
          positive(axes, 4),
          scalar(0.01),
          scalar(0.5),
          scalar(1 - std::pow(kOptions.beta1, t)),
          scalar(1 - std::pow(kOptions.beta2, t)),
          scalar(proceed)};
}

}  // namespace

TEST_CASE("adamw takes the steps of its formula", "[ops]") {
  for (const Axes& axes : std::vector<Axes>{{}, {{"embed", 1}}, {{"vocab", 3}, {"embed", 5}}}) {
    auto in = operands(axes, 1, 1);
    std::vector<double> p = in[0].values, m = in[2].values, v = in[3].values;
    for (int t = 1; t <= 3; ++t) {
      in[6] = scalar(1 - std::pow(0.9, t));
      in[7] = scalar(1 - std::pow(0.99, t));
      const auto out = evaluate(kStep, in);
      for (size_t i = 0; i < p.size(); ++i) {
        const double g = in[1].values[i] * 0.5;
        m[i] = 0.9 * m[i] + (1 - 0.9) * g;
        v[i] = 0.99 * v[i] + (1 - 0.99) * g * g;
        const double m_hat = m[i] / (1 - std::pow(0.9, t)), v_hat = v[i] / (1 - std::pow(0.99, t));
        p[i] -= 0.01 * (m_hat / (std::sqrt(v_hat) + 1e-6) + 0.1 * p[i]);
        CHECK(std::abs(out[0].values[i] - p[i]) < kRoundingTolerance);
        CHECK(std::abs(out[1].values[i] - m[i]) < kRoundingTolerance);
        CHECK(std::abs(out[2].values[i] - v[i]) < kRoundingTolerance);
      }
      in[0] = out[0];
      in[2] = out[1];
      in[3] = out[2];
    }
  }
}

TEST_CASE("adamw that does not proceed leaves every bit, even of a gradient that is not finite",
          "[ops]") {
  for (const DType real : {DType::f32, DType::f64}) {
    auto in = operands({{"embed", 4}}, 1, 0);
    const auto before = evaluate(
        [](const auto& x) {
          return std::vector{x[0], x[2], x[3]};
        },
        in, real);
    in[1].values = {NAN, INFINITY, -INFINITY, 1};
    CHECK(same_bits(evaluate(kStep, in, real), before));
  }
}

TEST_CASE("adamw without weight decay leaves a parameter whose gradients are 0", "[ops]") {
  const Build f = [](const auto& in) {
    const AdamwScalars s = {in[4], in[5], in[6], in[7], in[8]};
    return std::vector{adamw(in[0], in[1], in[2], in[3], s, {.weight_decay = 0}).param};
  };
  auto in = operands({{"embed", 3}}, 1, 1);
  in[1].values = in[2].values = in[3].values = {0, 0, 0};
  CHECK(evaluate(f, in)[0].values == in[0].values);
}

TEST_CASE("adamw refuses states of other axes and scalars that are none", "[ops]") {
  for (size_t i = 1; i < 9; ++i) {
    auto in = operands({{"embed", 3}}, 1, 1);
    in[i] = random_real({{"embed", 2}}, 1);
    CHECK_THAT(trace_error(kStep, in), Catch::Contains(i < 4 ? "adamw: param, grad, m and v differ"
                                                             : "adamw: a scalar is none"));
  }
}
