#include <cmath>

#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr double kEps = 1e-3;

NamedArray bias_of(const std::vector<NamedArray>& in) {
  return in.size() > 2 ? in[2] : NamedArray();
}

const Build kFused = [](const auto& in) {
  return std::vector{layer_norm(in[0], in[1], bias_of(in), kEps)};
};
const Build kPlain = [](const auto& in) {
  const Axes over = in[1].axes();
  const NamedArray centred = in[0] - mean(in[0], over);
  const NamedArray y = centred / sqrt(mean(centred * centred, over) + kEps) * in[1];
  return std::vector{bias_of(in) ? y + bias_of(in) : y};
};

struct Case {
  const char* name;
  Axes x, weight;
};

const std::vector<Case> kCases = {
    {"over the last axis", {{"batch", 2}, {"position", 3}, {"embed", 5}}, {{"embed", 5}}},
    {"over the first axis", {{"embed", 5}, {"batch", 3}}, {{"embed", 5}}},
    {"over two axes", {{"batch", 2}, {"head", 2}, {"embed", 3}}, {{"head", 2}, {"embed", 3}}},
    {"over two axes in another order",
     {{"batch", 2}, {"head", 2}, {"embed", 3}},
     {{"embed", 3}, {"head", 2}}},
    {"of a single row", {{"embed", 7}}, {{"embed", 7}}},
    {"over an axis of size 1", {{"batch", 3}, {"embed", 1}}, {{"embed", 1}}},
};

std::vector<Array> operands(const Case& c, bool bias) {
  std::vector<Array> in = {random_real(c.x, 1), positive(c.weight, 2)};
  if (bias) in.push_back(random_real(c.weight, 3));
  return in;
}

}  // namespace

TEST_CASE("layer_norm's gradients are those of central differences", "[ops]") {
  for (const Case& c : kCases)
    for (const bool bias : {true, false}) {
      INFO(c.name);
      CHECK(worst_gradient_error(kFused, operands(c, bias)) < kGradientTolerance);
    }
}

TEST_CASE("layer_norm's own rule agrees with backprop through its formula", "[ops]") {
  for (const Case& c : kCases)
    for (size_t which = 0; which < 3; ++which) {
      INFO(c.name);
      CHECK(rule_difference(kFused, kPlain, operands(c, true), which) < kRoundingTolerance);
    }
}

TEST_CASE("where weight and bias are frozen the gradient is x's alone, and the same", "[ops]") {
  for (const Case& c : kCases)
    for (const bool bias : {true, false}) {
      INFO(c.name);
      const auto gradients = [](size_t count) {
        return [count](const auto& in) {
          const NamedArray y = kFused(in)[0];
          return backprop(sum(y * y * y, y.axes()), std::span(in).first(count));
        };
      };
      const auto in = operands(c, bias);
      CHECK(evaluate(gradients(1), in)[0].values == evaluate(gradients(in.size()), in)[0].values);
      const Function traced = trace(gradients(1), in);
      for (const Node& node : traced.graph.nodes())
        CHECK((node.op->name != std::string("layer_norm_grad") || node.outputs.size() == 1));
    }
}

TEST_CASE("layer_norm takes the values of its formula", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const auto in = operands(c, true);
    const auto inner = indices(c.weight);
    const Array expected = looped(c.x, [&](const auto& where) {
      double mu = 0, variance = 0;
      const auto n = static_cast<double>(inner.size());
      std::vector<Index> row;
      for (const Index& index : where)
        if (!c.weight.contains(index.axis)) row.push_back(index);
      for (const auto& k : inner) mu += at(in[0], join(row, k)) / n;
      for (const auto& k : inner) variance += std::pow(at(in[0], join(row, k)) - mu, 2) / n;
      return (at(in[0], where) - mu) / std::sqrt(variance + kEps) * at(in[1], where) +
             at(in[2], where);
    });
    const Array y = evaluate(kFused, in)[0];
    CHECK(y.type.axes == c.x);
    CHECK(difference(y, expected) < kRoundingTolerance);
  }
}

TEST_CASE("layer_norm of equal elements is the bias", "[ops]") {
  const Array x = array({{"embed", 3}}, {4, 4, 4}), bias = array({{"embed", 3}}, {1, 2, 3});
  CHECK(evaluate(kFused, {x, positive({{"embed", 3}}, 1), bias})[0].values == bias.values);
}

TEST_CASE("layer_norm refuses other axes, and an eps that is not above 0", "[ops]") {
  const Array x = random_real({{"batch", 2}, {"embed", 3}}, 1), w = random_real({{"embed", 3}}, 2);
  CHECK_THAT(trace_error(kFused, {x, random_real({{"mlp", 3}}, 1)}),
             Catch::Contains("layer_norm: the weight's axes {mlp 3} are not all in x"));
  CHECK_THAT(trace_error(kFused, {x, w, random_real({{"batch", 2}}, 1)}),
             Catch::Contains("weight and bias differ in axes"));
  const Build no_eps = [](const auto& in) {
    return std::vector{layer_norm(in[0], in[1], NamedArray(), 0)};
  };
  CHECK_THAT(trace_error(no_eps, {x, w}), Catch::Contains("eps is not above 0"));
}

TEST_CASE("rms_norm takes the values of its formula, its gradients those of differences", "[ops]") {
  const Build fused = [](const auto& in) { return std::vector{rms_norm(in[0], in[1], kEps)}; };
  const Build plain = [](const auto& in) {
    const NamedArray mean_square = mean(in[0] * in[0], in[1].axes());
    return std::vector{in[0] / sqrt(mean_square + kEps) * in[1]};
  };
  for (const Case& c : kCases) {
    INFO(c.name);
    const auto in = operands(c, false);
    CHECK(difference(evaluate(fused, in)[0], evaluate(plain, in)[0]) < kRoundingTolerance);
    CHECK(worst_gradient_error(fused, in) < kGradientTolerance);
    for (size_t which = 0; which < 2; ++which)
      CHECK(rule_difference(fused, plain, in, which) < kRoundingTolerance);
  }
}
