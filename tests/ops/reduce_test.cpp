#include <algorithm>

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 3}, {"position", 2}, {"embed", 5}};
const std::vector<Axes> kOver = {
    {}, {{"embed", 5}}, {{"batch", 3}}, {{"embed", 5}, {"batch", 3}}, {{"position", 2}}, kX,
};
const std::vector<Reduce> kKinds = {Reduce::kSum, Reduce::kMax, Reduce::kMin};

Build with(Reduce kind, const Axes& over) {
  return [=](const auto& in) { return std::vector{reduce(kind, in[0], over)}; };
}

}  // namespace

TEST_CASE("reduce's gradients are those of central differences", "[ops]") {
  for (const Reduce kind : kKinds)
    for (const Axes& over : kOver)
      CHECK(worst_gradient_error(with(kind, over), {random_real(kX, 1)}) < kGradientTolerance);
}

TEST_CASE("reduce takes the sum, the largest and the smallest over any axes", "[ops]") {
  const Array x = random_real(kX, 1);
  for (const Reduce kind : kKinds)
    for (const Axes& over : kOver) {
      const auto inner = indices(over);
      const Array expected = looped(without(kX, over), [&](const auto& where) {
        std::vector<double> all;
        for (const auto& k : inner) all.push_back(at(x, join(where, k)));
        if (kind == Reduce::kMax) return *std::max_element(all.begin(), all.end());
        if (kind == Reduce::kMin) return *std::min_element(all.begin(), all.end());
        double total = 0;
        for (const double value : all) total += value;
        return total;
      });
      CHECK(difference(evaluate(with(kind, over), {x})[0], expected) < kRoundingTolerance);
    }
}

TEST_CASE("elements that share the extreme share its cotangent", "[ops]") {
  const Array x = array({{"embed", 4}}, {2, 5, 5, 1});
  const auto backend = make_backend("reference");
  CHECK(gradient(with(Reduce::kMax, {{"embed", 4}}), {x}, 0, *backend).values ==
        std::vector<double>{0, 0.5, 0.5, 0});
}

TEST_CASE("reduce keeps integers and reads views", "[ops]") {
  const Array x = ids({{"batch", 2}, {"embed", 3}}, {1, -2, 3, 4, 5, -6});
  const Build f = [](const auto& in) {
    const NamedArray turned = transpose(in[0], {{"embed", 3}, {"batch", 2}});
    return std::vector{reduce(Reduce::kSum, turned, {{"batch", 2}}),
                       reduce(Reduce::kMin, turned, {{"embed", 3}})};
  };
  const auto y = evaluate(f, {x});
  CHECK(y[0].values == std::vector<double>{5, 3, -3});
  CHECK(y[1].values == std::vector<double>{-2, -6});
}

TEST_CASE("sums of f32 lose nothing to their length", "[ops]") {
  Array x = counting({{"embed", 4097}});
  for (double& value : x.values) value = 0x1p-24;
  x.values[0] = 1;
  CHECK(evaluate(with(Reduce::kSum, {{"embed", 4097}}), {x}, DType::f32)[0].values[0] ==
        1 + 4096 * 0x1p-24);
}

TEST_CASE("mean is the sum over the number of elements", "[ops]") {
  const Build f = [](const auto& in) { return std::vector{mean(in[0], {{"embed", 5}})}; };
  const Array x = counting({{"embed", 5}, {"batch", 2}});
  CHECK(evaluate(f, {x})[0].values == std::vector<double>{5, 6});
  CHECK(worst_gradient_error(f, {x}) < kGradientTolerance);
}

TEST_CASE("reduce refuses axes that are not there", "[ops]") {
  CHECK_THAT(
      trace_error(with(Reduce::kSum, {{"mlp", 5}}), {random_real(kX, 1)}),
      Catch::Contains("reduce: the axes {mlp 5} are not all in {batch 3, position 2, embed 5}"));
  CHECK_THAT(trace_error(with(Reduce::kSum, {{"embed", 4}}), {random_real(kX, 1)}),
             Catch::Contains("the axes {embed 4} are not all in"));
}
