#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
/// The constant as each type reads it, through a graph that has no argument.
double read(double value, DType dtype) {
  Function f("test");
  f.result("y", constant(f.graph, value, dtype));
  const auto backend = make_backend("reference");
  return run(std::move(f), {}, *backend)[0].values[0];
}
}  // namespace

TEST_CASE("a constant has its value in every type", "[ops]") {
  CHECK(read(0.1, DType::f64) == 0.1);
  CHECK(read(0.1, DType::f32) == static_cast<double>(0.1f));
  CHECK(read(-7, DType::i32) == -7);
  CHECK(read(4294967295.0, DType::u32) == 4294967295.0);
}

TEST_CASE("a constant is a scalar without gradient", "[ops]") {
  Function f("test");
  const NamedArray c = constant(f.graph, 2, DType::f32);
  CHECK(c.axes().empty());
  const Build scaled = [](const auto& in) {
    return std::vector{in[0] * constant(in[0].graph(), 2, in[0].dtype())};
  };
  CHECK(worst_gradient_error(scaled, {random_real({{"embed", 3}}, 1)}) < kGradientTolerance);
}
