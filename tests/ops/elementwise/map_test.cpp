#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include <limits>

#include "base/bf16.h"
#include "ops/elementwise/value.h"
#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// A formula of another form than the row's.
struct Case {
  Map opcode;
  double (*value)(double, double, double);
};

// clang-format off
const std::vector<Case> kCases = {
    {Map::kNeg, [](double a, double, double) { return -a; }},
    {Map::kAbs, [](double a, double, double) { return std::abs(a); }},
    {Map::kExp, [](double a, double, double) { return std::exp(a); }},
    {Map::kLog, [](double a, double, double) { return std::log(a); }},
    {Map::kLog1p, [](double a, double, double) { return std::log(1 + a); }},
    {Map::kSqrt, [](double a, double, double) { return std::pow(a, 0.5); }},
    {Map::kRsqrt, [](double a, double, double) { return std::pow(a, -0.5); }},
    {Map::kRcp, [](double a, double, double) { return std::pow(a, -1); }},
    {Map::kTanh, [](double a, double, double) { return 1 - 2 / (std::exp(2 * a) + 1); }},
    {Map::kSigmoid, [](double a, double, double) { return std::exp(a) / (1 + std::exp(a)); }},
    {Map::kErf, [](double a, double, double) { return 1 - std::erfc(a); }},
    {Map::kSin, [](double a, double, double) { return std::sin(a); }},
    {Map::kCos, [](double a, double, double) { return std::cos(a); }},
    {Map::kNot, [](double a, double, double) { return a == 0 ? 1.0 : 0.0; }},
    {Map::kIsFinite, [](double, double, double) { return 1.0; }},
    {Map::kAdd, [](double a, double b, double) { return a + b; }},
    {Map::kSub, [](double a, double b, double) { return a - b; }},
    {Map::kMul, [](double a, double b, double) { return a * b; }},
    {Map::kDiv, [](double a, double b, double) { return a / b; }},
    {Map::kMax, [](double a, double b, double) { return std::fmax(a, b); }},
    {Map::kMin, [](double a, double b, double) { return std::fmin(a, b); }},
    {Map::kPow, [](double a, double b, double) { return std::exp(b * std::log(a)); }},
    {Map::kLess, [](double a, double b, double) { return a < b ? 1.0 : 0.0; }},
    {Map::kLessEqual, [](double a, double b, double) { return a <= b ? 1.0 : 0.0; }},
    {Map::kEqual, [](double a, double b, double) { return a == b ? 1.0 : 0.0; }},
    {Map::kAnd, [](double a, double b, double) { return a != 0 && b != 0 ? 1.0 : 0.0; }},
    {Map::kOr, [](double a, double b, double) { return a != 0 || b != 0 ? 1.0 : 0.0; }},
    {Map::kSelect, [](double a, double b, double c) { return a != 0 ? b : c; }},
};
// clang-format on

/// All of them, by row.
const std::vector<Map> kAll = [] {
  std::vector<Map> all;
  for (size_t code = 0; code < kMapOpcodes; ++code) all.push_back(static_cast<Map>(code));
  return all;
}();

/// Any number of operands of one node.
Build node(Map opcode) {
  return [opcode](const auto& in) {
    if (in.size() == 1) return std::vector{map(opcode, in[0])};
    if (in.size() == 2) return std::vector{map(opcode, in[0], in[1])};
    return std::vector{select(in[0], in[1], in[2])};
  };
}

/// Shapes of the operands: alike, in another order, subsets of one another, scalars, size 1.
const std::vector<std::vector<Axes>> kShapes = {
    {{{"batch", 3}, {"embed", 5}}, {{"batch", 3}, {"embed", 5}}, {{"batch", 3}, {"embed", 5}}},
    {{{"batch", 2}, {"embed", 3}}, {{"embed", 3}, {"batch", 2}}, {{"embed", 3}}},
    {{{"embed", 3}}, {{"batch", 2}, {"embed", 3}, {"head", 2}}, {}},
    {{}, {{"embed", 1}}, {{"batch", 7}, {"embed", 1}}},
    {{}, {}, {}},
};

std::vector<Array> operands(Map opcode, const std::vector<Axes>& shapes) {
  std::vector<Array> inputs;
  for (int i = 0; i < arity(opcode); ++i)
    inputs.push_back(positive(shapes[static_cast<size_t>(i)], 5 + static_cast<uint32_t>(i)));
  return inputs;
}

}  // namespace

TEST_CASE("every opcode's gradients are those of central differences", "[ops]") {
  for (const Map opcode : kAll)
    for (const auto& shapes : kShapes) {
      INFO(name_of(opcode));
      CHECK(worst_gradient_error(node(opcode), operands(opcode, shapes)) < kGradientTolerance);
    }
}

TEST_CASE("opcodes of one operand have the gradient of central differences on both sides of 0",
          "[ops]") {
  size_t tested = 0;
  for (const Map opcode : kAll) {
    if (arity(opcode) != 1 || !std::isfinite(map_value(opcode, -1.0))) continue;
    INFO(name_of(opcode));
    const Array x = random_array({DType::f64, {{"embed", 11}}}, 3, 0.3);
    CHECK(worst_gradient_error(node(opcode), {x}) < kGradientTolerance);
    ++tested;
  }
  CHECK(tested >= 11);
}

TEST_CASE("the gradients of opcodes round as their rows say", "[ops]") {
  const auto backend = make_backend("reference");
  const auto narrow = [](const Axes& axes, uint32_t seed) {
    Array x = random_array({DType::bf16, axes}, seed, 0.3);
    for (double& v : x.values) v = Bf16(static_cast<float>(std::abs(v)));
    return x;
  };
  for (const Map opcode : kAll) {
    if (row_of(opcode).rule != MapRow::Rule::kNarrow) continue;
    INFO(name_of(opcode));
    std::vector<Array> inputs;
    for (int i = 0; i < arity(opcode); ++i)
      inputs.push_back(narrow({{"embed", 13}}, 5 + static_cast<uint32_t>(i)));
    std::vector<Array> wide = inputs;
    for (Array& x : wide) x.type.dtype = DType::f32;
    const Array g = narrow({{"embed", 13}}, 9);
    const Build gradients = [&](const auto& in) {
      const std::vector<NamedArray> x(in.begin(), in.end() - 1);
      return backprop(sum(cast(node(opcode)(x)[0] * in.back(), DType::f32), {{"embed", 13}}), x);
    };
    const auto with = [&g](std::vector<Array> in, DType dtype) {
      in.push_back(g);
      in.back().type.dtype = dtype;
      return in;
    };
    const auto found = evaluate(gradients, with(inputs, DType::bf16), *backend, DType::f32);
    auto expected = evaluate(gradients, with(wide, DType::f32), *backend, DType::f32);
    for (size_t i = 0; i < found.size(); ++i) {
      for (double& v : expected[i].values) v = Bf16(static_cast<float>(v));
      CHECK(found[i].values == expected[i].values);
    }
  }
}

TEST_CASE("select hands the cotangent to the operand that it took", "[ops]") {
  const Array chosen = array({{"embed", 4}}, {1, 0, 0, -2});
  const std::vector inputs = {chosen, random_real({{"embed", 4}}, 1), random_real({}, 2)};
  CHECK(gradient_error(node(Map::kSelect), inputs, 1) < kGradientTolerance);
  CHECK(gradient_error(node(Map::kSelect), inputs, 2) < kGradientTolerance);
}

TEST_CASE("where both are equal max and min hand the cotangent to the first operand", "[ops]") {
  const Array x = array({}, {2});
  for (const Map opcode : {Map::kMax, Map::kMin}) {
    const auto backend = make_backend("reference");
    CHECK(gradient(node(opcode), {x, x}, 0, *backend).values[0] == 1);
    CHECK(gradient(node(opcode), {x, x}, 1, *backend).values[0] == 0);
  }
}

TEST_CASE("every opcode has a case above", "[ops]") {
  for (const Map opcode : kAll) {
    INFO(name_of(opcode));
    CHECK(std::count_if(kCases.begin(), kCases.end(),
                        [&](const Case& c) { return c.opcode == opcode; }) == 1);
  }
}

TEST_CASE("every opcode takes the value of its formula, whatever the operands' axes", "[ops]") {
  for (const Case& c : kCases)
    for (const auto& shapes : kShapes) {
      INFO(name_of(c.opcode));
      const std::vector<Array> in = operands(c.opcode, shapes);
      const Array y = evaluate(node(c.opcode), in)[0];
      for (const Array& x : in) CHECK(is_subset(x.type.axes, y.type.axes));
      const Array expected = looped(y.type.axes, [&](const auto& where) {
        const double b = in.size() > 1 ? at(in[1], where) : 0;
        return c.value(at(in[0], where), b, in.size() > 2 ? at(in[2], where) : 0);
      });
      CHECK(difference(y, expected) < kRoundingTolerance);
    }
}

TEST_CASE("the result has the axis order of the operand with the most axes, the first of equals",
          "[ops]") {
  const Axes few = {{"embed", 3}}, one = {{"batch", 2}, {"embed", 3}},
             other = {{"embed", 3}, {"batch", 2}};
  const auto axes = [](const Axes& a, const Axes& b) {
    return evaluate(node(Map::kAdd), {positive(a, 1), positive(b, 2)})[0].type.axes;
  };
  CHECK(axes(few, other) == other);
  CHECK(axes(one, other) == one);
  CHECK(axes(other, one) == other);
}

TEST_CASE("logic gives 1 and 0, and anything but 0 is true", "[ops]") {
  const Array a = array({{"embed", 4}}, {0, 0, -3, 0.5}), b = array({{"embed", 4}}, {0, 2, 0, 1});
  const auto values = [&](Map opcode) { return evaluate(node(opcode), {a, b})[0].values; };
  CHECK(values(Map::kAnd) == std::vector<double>{0, 0, 0, 1});
  CHECK(values(Map::kOr) == std::vector<double>{0, 1, 1, 1});
  CHECK(values(Map::kLess) == std::vector<double>{0, 1, 1, 1});
  CHECK(values(Map::kLessEqual) == std::vector<double>{1, 1, 1, 1});
  CHECK(values(Map::kEqual) == std::vector<double>{1, 0, 0, 0});
  CHECK(evaluate(node(Map::kNot), {a})[0].values == std::vector<double>{1, 1, 0, 0});
}

TEST_CASE("is_finite tells infinities and NaN from numbers", "[ops]") {
  const Array x = array({{"embed", 4}}, {1e308, INFINITY, -INFINITY, NAN});
  CHECK(evaluate(node(Map::kIsFinite), {x})[0].values == std::vector<double>{1, 0, 0, 0});
}

TEST_CASE("sigmoid and tanh do not overflow", "[ops]") {
  const Array x = array({{"embed", 2}}, {-1000, 1000});
  CHECK(evaluate(node(Map::kSigmoid), {x})[0].values == std::vector<double>{0, 1});
  CHECK(evaluate(node(Map::kTanh), {x})[0].values == std::vector<double>{-1, 1});
}

TEST_CASE("integers add, compare and select", "[ops]") {
  const Array a = ids({{"embed", 3}}, {1, -2, 7}), b = ids({{"embed", 3}}, {5, -2, 3});
  const auto values = [&](Map opcode) { return evaluate(node(opcode), {a, b})[0].values; };
  CHECK(values(Map::kAdd) == std::vector<double>{6, -4, 10});
  CHECK(values(Map::kMul) == std::vector<double>{5, 4, 21});
  CHECK(values(Map::kMax) == std::vector<double>{5, -2, 7});
  CHECK(values(Map::kLess) == std::vector<double>{1, 0, 0});
  CHECK(values(Map::kEqual) == std::vector<double>{0, 1, 0});
  CHECK(evaluate(node(Map::kSelect), {ids({{"embed", 3}}, {0, 1, 0}), a, b})[0].values ==
        std::vector<double>{5, -2, 3});
}

TEST_CASE("operators and named functions write the same as map", "[ops]") {
  const Array x = positive({{"embed", 3}}, 1);
  const auto y = evaluate(
      [](const auto& in) {
        const NamedArray a = in[0];
        return std::vector{a + 2.0, a - 2.0, a * 2.0,  a / 2.0, 2.0 - a,  -a,         exp(a),
                           log(a),  sqrt(a), rsqrt(a), tanh(a), relu(-a), sigmoid(a), silu(a)};
      },
      {x});
  for (size_t i = 0; i < x.values.size(); ++i) {
    const double a = x.values[i], s = 1 / (1 + std::exp(-a));
    const std::vector<double> expected = {
        a + 2,        a - 2,       a * 2,       a / 2,        2 - a,
        -a,           std::exp(a), std::log(a), std::sqrt(a), 1 / std::sqrt(a),
        std::tanh(a), 0,           s,           a * s};
    for (size_t k = 0; k < expected.size(); ++k)
      CHECK(std::abs(y[k].values[i] - expected[k]) < kRoundingTolerance);
  }
}

TEST_CASE("opcodes have names of their own", "[ops]") {
  std::set<std::string> names;
  for (const Map opcode : kAll) CHECK(names.insert(name_of(opcode)).second);
}

TEST_CASE("map refuses axes that do not nest, naming both operands and the line", "[ops]") {
  const std::string error =
      trace_error(node(Map::kAdd), {positive({{"batch", 2}}, 1), positive({{"embed", 3}}, 2)});
  CHECK_THAT(error, Catch::Contains("map: add: the axes {embed 3} are not a subset of {batch 2}"));
  CHECK_THAT(error, Catch::Contains("the operands are f64 {batch 2}, f64 {embed 3}"));
  CHECK_THAT(error, Catch::Contains("tests/ops/elementwise/map_test.cpp:"));
  CHECK_THAT(
      trace_error(node(Map::kMul), {positive({{"batch", 2}}, 1), positive({{"batch", 3}}, 2)}),
      Catch::Contains("{batch 3} are not a subset of {batch 2}"));
}

TEST_CASE("map refuses mixed types, and integers where only floats make sense", "[ops]") {
  const Array i = ids({}, {1});
  CHECK_THAT(trace_error(node(Map::kAdd), {positive({}, 1), i}),
             Catch::Contains("add of two types"));
  CHECK_THAT(trace_error(node(Map::kExp), {i}), Catch::Contains("exp of i32"));
  CHECK_THAT(trace_error(node(Map::kDiv), {i, i}), Catch::Contains("div of i32"));
  CHECK_THAT(trace_error(node(Map::kAdd), {i}), Catch::Contains("add takes 2 operands"));
}

TEST_CASE("at a kink the gradient is the field's: 0 for relu and abs, and 0^2 has none in 2",
          "[ops]") {
  const Array zero{{DType::f64, {{"a", 1}}}, {0}}, two{{DType::f64, {{"a", 1}}}, {2}};
  const auto reference = make_backend("reference");
  const auto slope = [&](const Build& f, const std::vector<Array>& in, size_t which) {
    const Build total = [&](const auto& x) { return std::vector{sum(f(x)[0], {{"a", 1}})}; };
    return gradient(total, in, which, *reference).values[0];
  };
  CHECK(slope([](const auto& x) { return std::vector{relu(x[0])}; }, {zero}, 0) == 0);
  CHECK(slope([](const auto& x) { return std::vector{map(Map::kAbs, x[0])}; }, {zero}, 0) == 0);
  CHECK(slope([](const auto& x) { return std::vector{map(Map::kPow, x[0], x[1])}; }, {zero, two},
              1) == 0);
}

TEST_CASE("the larger and the smaller of two are NaN where either is, on every backend", "[ops]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Array a{{DType::f64, {{"a", 2}}}, {1, nan}}, b{{DType::f64, {{"a", 2}}}, {nan, 1}};
  for (const char* name : {"reference", "cpu"})
    for (const Map opcode : {Map::kMax, Map::kMin}) {
      const auto y = evaluate([&](const auto& x) { return std::vector{map(opcode, x[0], x[1])}; },
                              {a, b}, *make_backend(name), DType::f32);
      CHECK(std::isnan(y[0].values[0]));
      CHECK(std::isnan(y[0].values[1]));
    }
}
