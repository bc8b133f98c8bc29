#include "base/random.h"
#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"embed", 3}};

/// Traces loss and gradients with `wrt` picked from the inputs.
std::vector<Array> gradients(const Build& loss, const std::vector<Array>& in) {
  return evaluate([&](const auto& x) { return backprop(loss(x)[0], x); }, in);
}

}  // namespace

TEST_CASE("a value that the loss does not depend on gets zeros of its own type", "[passes]") {
  const Build loss = [](const auto& in) { return std::vector{sum(in[0], in[0].axes())}; };
  const auto g = gradients(loss, {random_real(kX, 1), random_real({{"mlp", 2}, {"embed", 3}}, 2),
                                  ids({{"batch", 2}}, {1, 2})});
  CHECK(g[1].type == Type{DType::f64, {{"mlp", 2}, {"embed", 3}}});
  CHECK(g[1].values == std::vector<double>(6, 0));
  CHECK(g[2].type == Type{DType::i32, {{"batch", 2}}});
  CHECK(g[2].values == std::vector<double>(2, 0));
}

TEST_CASE("the gradient of a value in itself is 1", "[passes]") {
  const Build loss = [](const auto& in) { return std::vector{in[0]}; };
  CHECK(gradients(loss, {array({}, {5})})[0].values == std::vector<double>{1});
}

TEST_CASE("contributions of several uses are added", "[passes]") {
  const Build loss = [](const auto& in) {
    const NamedArray x = in[0], y = exp(x) * x + sum(x, {{"embed", 3}});
    return std::vector{sum(y * tanh(x) + y, y.axes())};
  };
  CHECK(gradient_error(loss, {random_real(kX, 1)}, 0) < kGradientTolerance);
}

TEST_CASE("a gradient has the axis order of its value", "[passes]") {
  const Build loss = [](const auto& in) { return std::vector{dot(in[0], in[1], {})}; };
  const Array x = counting(kX), y = random_real({{"embed", 3}, {"batch", 2}}, 1);
  const auto g = gradients(loss, {x, y});
  CHECK(g[0].type.axes == kX);
  CHECK(g[1].type.axes == y.type.axes);
  CHECK(g[1].values == std::vector<double>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("gradients of values in the middle of a graph", "[passes]") {
  const Build f = [](const auto& in) {
    const NamedArray h = exp(in[0]), y = sum(h * h, kX);
    const NamedArray wrt[] = {h, in[0]};
    return backprop(y, wrt);
  };
  const Array x = random_real(kX, 1);
  const auto g = evaluate(f, {x});
  for (size_t i = 0; i < x.values.size(); ++i) {
    CHECK(std::abs(g[0].values[i] - 2 * std::exp(x.values[i])) < kRoundingTolerance);
    CHECK(std::abs(g[1].values[i] - 2 * std::exp(2 * x.values[i])) < kRoundingTolerance);
  }
}

TEST_CASE("an op without gradient stands in the way only where a gradient must pass", "[passes]") {
  const Build f = [](const auto& in) {
    const NamedArray u = uniform(random_bits(in[0], kX), DType::f64);
    const NamedArray wrt[] = {u};
    return backprop(sum(u * u, kX), wrt);
  };
  const Array keys = random_keys({}, 1);
  const auto g = evaluate(f, {keys})[0];
  const Key key{static_cast<uint32_t>(keys.values[0]), static_cast<uint32_t>(keys.values[1])};
  for (size_t i = 0; i < 6; ++i) CHECK(g.values[i] == 2.0 * uniform_from_bits(random_bits(key, i)));
}

TEST_CASE("an op without gradient on the way is named with its place", "[passes]") {
  const Build loss = [](const auto& in) {
    return std::vector{sum(sum_squares(in[0], "embed"), {{"embed", 3}})};
  };
  const std::string error = error_of([&] { gradients(loss, {random_real(kX, 1)}); });
  CHECK_THAT(error,
             Catch::Contains("sum_squares has no gradient, at tests/passes/autodiff_test.cpp:"));
}

TEST_CASE("only a scalar can be differentiated", "[passes]") {
  const Build loss = [](const auto& in) { return std::vector{in[0]}; };
  CHECK_THAT(error_of([&] { gradients(loss, {random_real(kX, 1)}); }),
             Catch::Contains("only a scalar can be differentiated"));
}

TEST_CASE("backward nodes carry the region, path and line of the node that they undo", "[passes]") {
  Function f("test");
  const NamedArray x = f.argument("x", {DType::f32, kX});
  Origin origin;
  origin.region = f.graph.add_region({"block", Remat::kNone});
  origin.path = f.graph.intern_path("h.0");
  NamedArray y;
  {
    const OriginScope scope(f.graph, origin, false);
    y = tanh(x);
  }
  const NamedArray loss = sum(y, kX);
  const size_t forward = f.graph.nodes().size();
  const NamedArray wrt[] = {x};
  backprop(loss, wrt);
  REQUIRE(f.graph.nodes().size() > forward);
  size_t of_block = 0;
  for (NodeId id = 0; id < f.graph.nodes().size(); ++id) {
    const Node& node = f.graph.node(id);
    if (id < forward) CHECK(node.origin.phase == Phase::kForward);
    if (id < forward || node.origin.region != origin.region) continue;
    ++of_block;
    CHECK(node.origin.phase == Phase::kBackward);
    CHECK(f.graph.describe(id) == f.graph.describe(y.value().node));
  }
  CHECK(of_block > 0);
}

TEST_CASE("what no asked-for value leads to is not differentiated", "[passes]") {
  Function f("test");
  const NamedArray x = f.argument("x", {DType::f32, kX}), y = f.argument("y", {DType::f32, kX});
  const NamedArray loss = sum(tanh(x) * exp(y), kX);
  const size_t forward = f.graph.nodes().size();
  const NamedArray wrt[] = {x};
  backprop(loss, wrt);
  for (NodeId id = static_cast<NodeId>(forward); id < f.graph.nodes().size(); ++id)
    for (const Value& input : f.graph.node(id).inputs) CHECK(input.node != y.value().node);
}
