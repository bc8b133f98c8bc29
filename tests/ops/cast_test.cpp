#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
Build through(DType dtype) {
  return [dtype](const auto& in) { return std::vector{cast(in[0], dtype)}; };
}
}  // namespace

TEST_CASE("cast converts to integers towards zero and back exactly", "[ops]") {
  const Array x = array({{"embed", 5}}, {-2.75, -0.5, 0, 0.5, 3.99});
  const Array y = evaluate(through(DType::i32), {x})[0];
  CHECK(y.type.dtype == DType::i32);
  CHECK(y.values == std::vector<double>{-2, 0, 0, 0, 3});
  CHECK(evaluate(through(DType::f64), {y})[0].values == y.values);
}

TEST_CASE("cast to a narrower float rounds to nearest", "[ops]") {
  const Array x = array({{"embed", 2}}, {1 + 0x1p-25, 0.1});
  const Array y = evaluate(through(DType::f32), {x})[0];
  CHECK(y.values == std::vector<double>{1, static_cast<double>(0.1f)});
}

TEST_CASE("cast reads its operand through strides", "[ops]") {
  const Array x = counting({{"batch", 2}, {"embed", 3}});
  const Axes order = {{"embed", 3}, {"batch", 2}};
  const Build f = [&](const auto& in) {
    return std::vector{cast(transpose(in[0], order), DType::u32)};
  };
  CHECK(evaluate(f, {x})[0].values == std::vector<double>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("cast to a value's own type is the value", "[ops]") {
  Function f("test");
  const NamedArray x = f.argument("x", {DType::f32, {}});
  CHECK(cast(x, DType::f32).value() == x.value());
}

TEST_CASE("cast between floats passes the cotangent on, through integers none", "[ops]") {
  const auto backend = make_backend("reference");
  const Array x = array({}, {1.5});
  const Build floats = [](const auto& in) {
    return std::vector{cast(cast(in[0], DType::f32) * 3.0, DType::f64)};
  };
  CHECK(gradient(floats, {x}, 0, *backend).values[0] == 3);
  const Build integers = [](const auto& in) {
    return std::vector{cast(cast(in[0], DType::i32), DType::f64)};
  };
  CHECK(gradient(integers, {x}, 0, *backend).values[0] == 0);
}
