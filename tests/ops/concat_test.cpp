#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Build along(AxisName axis) {
  return [axis](const auto& in) { return std::vector{concat(in, axis)}; };
}

Axes with(int64_t position) { return {{"batch", 2}, {"position", position}, {"embed", 3}}; }

}  // namespace

TEST_CASE("concat's gradients are those of central differences", "[ops]") {
  CHECK(worst_gradient_error(along("position"), {random_real(with(1), 1)}) < kGradientTolerance);
  CHECK(worst_gradient_error(along("position"), {random_real(with(1), 1),
                                                 random_real(with(3), 2)}) < kGradientTolerance);
}

TEST_CASE("concat of more parts than a partition makes has its gradient too", "[ops]") {
  std::vector<Array> parts;
  for (uint32_t i = 0; i < 9; ++i) parts.push_back(random_real({{"embed", 1 + i % 3}}, i));
  CHECK(worst_gradient_error(along("embed"), parts) < kGradientTolerance);
}

TEST_CASE("concat puts parts one after the other along any axis", "[ops]") {
  for (const char* name : {"batch", "position", "embed"}) {
    const AxisName axis = name;
    const Axes first = with(2);
    Axes second;
    for (const Axis& a : first) second.push_back(a.name == axis ? Axis{axis, 4} : a);
    const Array a = random_real(first, 1), b = random_real(second, 2);
    const Array y = evaluate(along(axis), {a, b})[0];
    const int64_t cut = first.size_of(axis);
    const Array expected = looped(y.type.axes, [&](std::vector<Index> where) {
      for (Index& index : where)
        if (index.axis == axis && index.at >= cut) {
          index.at -= cut;
          return at(b, where);
        }
      return at(a, where);
    });
    CHECK(y.type.axes.size_of(axis) == cut + 4);
    CHECK(difference(y, expected) == 0);
  }
}

TEST_CASE("concat brings its parts into the axis order of the first", "[ops]") {
  const Array a = counting({{"batch", 2}, {"embed", 1}}),
              b = array({{"embed", 2}, {"batch", 2}}, {3, 4, 5, 6});
  CHECK(evaluate(along("embed"), {a, b})[0].values == std::vector<double>{1, 3, 5, 2, 4, 6});
  CHECK(worst_gradient_error(along("embed"), {a, b}) < kGradientTolerance);
}

TEST_CASE("concat of a value with itself", "[ops]") {
  const Build twice = [](const auto& in) {
    const NamedArray y = exp(in[0]), parts[] = {y, y};
    return std::vector{concat(parts, "embed")};
  };
  const Array x = random_real({{"batch", 2}, {"embed", 3}}, 1);
  CHECK(worst_gradient_error(twice, {x}) < kGradientTolerance);
}

TEST_CASE("concat refuses parts that lack the axis or differ in another", "[ops]") {
  CHECK_THAT(trace_error(along("head"), {random_real(with(1), 1)}),
             Catch::Contains("a part has no axis head"));
  CHECK_THAT(trace_error(along("position"),
                         {random_real(with(1), 1),
                          random_real({{"batch", 5}, {"position", 1}, {"embed", 3}}, 1)}),
             Catch::Contains("the parts differ in more than position"));
  CHECK_THAT(
      trace_error(along("embed"), {random_real({{"embed", 1}}, 1), ids({{"embed", 1}}, {1})}),
      Catch::Contains("the parts differ in more than embed"));
}
