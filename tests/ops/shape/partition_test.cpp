#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"embed", 6}, {"head", 2}};

Build cut(AxisName axis, std::vector<int64_t> sizes) {
  return [=](const auto& in) { return partition(in[0], axis, sizes); };
}

}  // namespace

TEST_CASE("partition's gradient is that of central differences", "[ops]") {
  CHECK(worst_gradient_error(cut("embed", {6}), {random_real(kX, 1)}) < kGradientTolerance);
  CHECK(worst_gradient_error(cut("embed", {1, 3, 2}), {random_real(kX, 1)}) < kGradientTolerance);
  CHECK(worst_gradient_error(cut("head", {1, 1}), {random_real(kX, 1)}) < kGradientTolerance);
}

TEST_CASE("a part that nothing uses has a gradient of zeros", "[ops]") {
  const Build middle = [](const auto& in) {
    return std::vector{partition(in[0], "embed", std::vector<int64_t>{1, 3, 2})[1]};
  };
  CHECK(worst_gradient_error(middle, {random_real(kX, 1)}) < kGradientTolerance);
}

TEST_CASE("partition cuts an axis into consecutive parts", "[ops]") {
  const Array x = counting(kX);
  const std::vector<int64_t> sizes = {1, 3, 2};
  const auto parts = evaluate(cut("embed", sizes), {x});
  REQUIRE(parts.size() == 3);
  int64_t start = 0;
  for (size_t p = 0; p < 3; ++p) {
    const Axes axes = {{"batch", 2}, {"embed", sizes[p]}, {"head", 2}};
    const Array expected = looped(axes, [&](std::vector<Index> where) {
      where[1].at += start;
      return at(x, where);
    });
    CHECK(difference(parts[p], expected) == 0);
    start += sizes[p];
  }
}

TEST_CASE("partition of a view, and of a part", "[ops]") {
  const Build f = [](const auto& in) {
    const Axes order = {{"head", 2}, {"embed", 6}, {"batch", 2}};
    const NamedArray end =
        partition(transpose(in[0], order), "embed", std::vector<int64_t>{2, 4})[1];
    return std::vector{partition(end, "embed", std::vector<int64_t>{3, 1})[1]};
  };
  const Array x = counting(kX);
  CHECK(evaluate(f, {x})[0].values == std::vector<double>{11, 23, 12, 24});
  CHECK(worst_gradient_error(f, {x}) < kGradientTolerance);
}

TEST_CASE("partition into any number of parts", "[ops]") {
  const Array x = counting({{"embed", 13}});
  for (const size_t count : {4, 5, 7, 8, 13}) {
    std::vector<int64_t> sizes(count, 1);
    sizes[count / 2] += 13 - static_cast<int64_t>(count);
    const auto parts = evaluate(cut("embed", sizes), {x});
    REQUIRE(parts.size() == count);
    std::vector<double> joined;
    for (size_t i = 0; i < count; ++i) {
      CHECK(parts[i].type.axes == Axes{{"embed", sizes[i]}});
      joined.insert(joined.end(), parts[i].values.begin(), parts[i].values.end());
    }
    CHECK(joined == x.values);
    CHECK(worst_gradient_error(cut("embed", sizes), {x}) < kGradientTolerance);
  }
}

TEST_CASE("partition refuses sizes that do not add up, and empty parts", "[ops]") {
  const Array x = random_real(kX, 1);
  CHECK_THAT(trace_error(cut("embed", {2, 3}), {x}),
             Catch::Contains("the parts of embed add up to 5, not 6"));
  CHECK_THAT(trace_error(cut("mlp", {6}), {x}), Catch::Contains("there is no axis mlp"));
  CHECK_THAT(trace_error(cut("embed", {6, 0}), {x}), Catch::Contains("a part of embed is empty"));
}
