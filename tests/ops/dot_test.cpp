#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

struct Case {
  const char* name;
  Axes a, b, out;
};

const std::vector<Case> kCases = {
    {"matrix by matrix", {{"m", 3}, {"k", 5}}, {{"k", 5}, {"n", 2}}, {{"m", 3}, {"n", 2}}},
    {"transposed result", {{"m", 3}, {"k", 5}}, {{"k", 5}, {"n", 2}}, {{"n", 2}, {"m", 3}}},
    {"transposed operands", {{"k", 5}, {"m", 3}}, {{"n", 2}, {"k", 5}}, {{"m", 3}, {"n", 2}}},
    {"matrix by vector", {{"m", 3}, {"k", 7}}, {{"k", 7}}, {{"m", 3}}},
    {"scalar product", {{"k", 7}}, {{"k", 7}}, {}},
    {"two summed axes",
     {{"m", 2}, {"h", 3}, {"d", 2}},
     {{"d", 2}, {"h", 3}, {"n", 2}},
     {{"m", 2}, {"n", 2}}},
    {"batched",
     {{"b", 2}, {"m", 3}, {"k", 2}},
     {{"k", 2}, {"b", 2}, {"n", 2}},
     {{"b", 2}, {"m", 3}, {"n", 2}}},
    {"batch innermost in the result",
     {{"b", 2}, {"m", 3}, {"k", 2}},
     {{"b", 2}, {"k", 2}},
     {{"m", 3}, {"b", 2}}},
    {"outer product", {{"m", 3}}, {{"n", 5}}, {{"n", 5}, {"m", 3}}},
    {"elementwise", {{"b", 3}}, {{"b", 3}}, {{"b", 3}}},
    {"by a scalar", {{"m", 3}}, {}, {{"m", 3}}},
    {"all sizes 1", {{"m", 1}, {"k", 1}}, {{"k", 1}, {"n", 1}}, {{"m", 1}, {"n", 1}}},
};

Build to(const Axes& out) {
  return [out](const auto& in) { return std::vector{dot(in[0], in[1], out)}; };
}

}  // namespace

TEST_CASE("dot's gradients are those of central differences", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    CHECK(worst_gradient_error(to(c.out), {random_real(c.a, 1), random_real(c.b, 2)}) <
          kGradientTolerance);
  }
}

TEST_CASE("dot sums products over the axes that both have and the result lacks", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const Array a = random_real(c.a, 1), b = random_real(c.b, 2);
    const auto inner = indices(without(intersect(c.a, c.b), c.out));
    const Array expected = looped(c.out, [&](const auto& outer) {
      double total = 0;
      for (const auto& k : inner) total += at(a, join(outer, k)) * at(b, join(outer, k));
      return total;
    });
    CHECK(difference(evaluate(to(c.out), {a, b})[0], expected) < kRoundingTolerance);
  }
}

TEST_CASE("the square of a value has twice its gradient", "[ops]") {
  const Build f = [](const auto& in) { return std::vector{dot(in[0], in[0], {})}; };
  CHECK(worst_gradient_error(f, {random_real({{"m", 3}, {"k", 5}}, 1)}) < kGradientTolerance);
}

TEST_CASE("sums of f32 products lose nothing to their length", "[ops]") {
  // 1 + 2^-24 repeated: adding in f32 would drop every small term.
  Array a = counting({{"k", 4097}}), b = a;
  for (double& x : a.values) x = 1;
  for (double& x : b.values) x = 0x1p-24;
  b.values[0] = 1;
  CHECK(evaluate(to({}), {a, b}, DType::f32)[0].values[0] == 1 + 4096 * 0x1p-24);
}

TEST_CASE("dot refuses what it cannot sum, naming both operands and the line", "[ops]") {
  const Array a = random_real({{"m", 3}, {"k", 5}}, 1), b = random_real({{"k", 5}, {"n", 2}}, 2);
  const std::string error = trace_error(to({{"m", 3}}), {a, b});
  CHECK_THAT(error, Catch::Contains("dot: the axis n would be summed but only one operand has it"));
  CHECK_THAT(error, Catch::Contains("the operands are f64 {m 3, k 5}, f64 {k 5, n 2}"));
  CHECK_THAT(error, Catch::Contains("tests/ops/dot_test.cpp:"));
  CHECK_THAT(trace_error(to({{"x", 3}}), {a, b}),
             Catch::Contains("the result's axes {x 3} are not all in the operands"));
  CHECK_THAT(trace_error(to({}), {a, random_real({{"k", 4}}, 2)}),
             Catch::Contains("dot: a shared axis has two sizes"));
  CHECK_THAT(trace_error(to({}), {a, ids({{"k", 5}}, {1, 2, 3, 4, 5})}),
             Catch::Contains("operands of two types"));
}
