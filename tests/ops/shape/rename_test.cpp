#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"position", 3}};

Build as(AxisName from, AxisName to) {
  return [=](const auto& in) { return std::vector{rename(in[0], from, to)}; };
}

}  // namespace

TEST_CASE("rename's gradient is that of central differences", "[ops]") {
  CHECK(worst_gradient_error(as("position", "key_position"), {random_real(kX, 1)}) <
        kGradientTolerance);
  const Build squares = [](const auto& in) {  // both names of one value in one product
    return std::vector{dot(in[0], rename(in[0], "position", "key_position"),
                           {{"position", 3}, {"key_position", 3}})};
  };
  CHECK(worst_gradient_error(squares, {random_real(kX, 1)}) < kGradientTolerance);
}

TEST_CASE("rename changes a name and nothing else", "[ops]") {
  const Array x = counting(kX), y = evaluate(as("batch", "row"), {x})[0];
  CHECK(y.type.axes == Axes{{"row", 2}, {"position", 3}});
  CHECK(y.values == x.values);
}

TEST_CASE("names can be exchanged by way of a third", "[ops]") {
  const Build f = [](const auto& in) {
    const NamedArray turned = rename(rename(rename(in[0], "a", "t"), "b", "a"), "t", "b");
    return std::vector{exp(in[0]) + turned};
  };
  const Array x = random_real({{"a", 3}, {"b", 3}}, 1);
  CHECK(worst_gradient_error(f, {x}) < kGradientTolerance);
}

TEST_CASE("rename refuses names that are missing or taken", "[ops]") {
  const Array x = random_real(kX, 1);
  CHECK_THAT(trace_error(as("embed", "mlp"), {x}),
             Catch::Contains("rename: there is no axis embed"));
  CHECK_THAT(trace_error(as("batch", "position"), {x}),
             Catch::Contains("there is an axis position already"));
}
