#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Build to(const Axes& axes) {
  return [axes](const auto& in) { return std::vector{broadcast(in[0], axes)}; };
}

const Axes kAll = {{"batch", 2}, {"position", 3}, {"embed", 5}};

}  // namespace

TEST_CASE("broadcast's gradient is that of central differences", "[ops]") {
  for (const Axes& from :
       std::vector<Axes>{{}, {{"embed", 5}}, {{"position", 3}}, {{"embed", 5}, {"batch", 2}}, kAll})
    CHECK(worst_gradient_error(to(kAll), {random_real(from, 1)}) < kGradientTolerance);
}

TEST_CASE("broadcast repeats a value along the axes that it lacks", "[ops]") {
  const Array x = counting({{"embed", 5}, {"batch", 2}});
  const Array y = evaluate(to(kAll), {x})[0];
  CHECK(difference(y, looped(kAll, [&](const auto& where) { return at(x, where); })) == 0);
}

TEST_CASE("broadcast to a value's own axes is the value", "[ops]") {
  Function f("test");
  const NamedArray x = f.argument("x", {DType::f32, kAll});
  CHECK(broadcast(x, kAll).value() == x.value());
}

TEST_CASE("broadcast refuses axes that lack one of the value's", "[ops]") {
  CHECK_THAT(trace_error(to({{"batch", 2}}), {random_real({{"embed", 5}}, 1)}),
             Catch::Contains("the axes {embed 5} are not among {batch 2}"));
  CHECK_THAT(trace_error(to({{"embed", 6}}), {random_real({{"embed", 5}}, 1)}),
             Catch::Contains("the axes {embed 5} are not among {embed 6}"));
}
