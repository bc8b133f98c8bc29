#include <algorithm>

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"position", 3}, {"embed", 5}};

Build to(const Axes& order) {
  return [order](const auto& in) { return std::vector{transpose(in[0], order)}; };
}

/// Every order of three axes.
std::vector<Axes> orders() {
  std::vector<size_t> at = {0, 1, 2};
  std::vector<Axes> all;
  do {
    all.push_back({kX[at[0]], kX[at[1]], kX[at[2]]});
  } while (std::next_permutation(at.begin(), at.end()));
  return all;
}

}  // namespace

TEST_CASE("transpose's gradient is that of central differences", "[ops]") {
  for (const Axes& order : orders())
    CHECK(worst_gradient_error(to(order), {random_real(kX, 1)}) < kGradientTolerance);
}

TEST_CASE("transpose changes the layout and no element", "[ops]") {
  const Array x = counting(kX);
  for (const Axes& order : orders()) {
    const Array y = evaluate(to(order), {x})[0];
    CHECK(difference(y, looped(order, [&](const auto& where) { return at(x, where); })) == 0);
  }
}

TEST_CASE("transposes one after another", "[ops]") {
  const Array x = random_real(kX, 1);
  for (const Axes& order : orders()) {
    const Build back = [&](const auto& in) {
      return std::vector{transpose(transpose(in[0], order), kX)};
    };
    CHECK(same_bits(evaluate(back, {x}), {x}));
  }
}

TEST_CASE("transpose refuses what is not an order of the axes", "[ops]") {
  const Array x = random_real({{"batch", 2}, {"embed", 3}}, 1);
  CHECK_THAT(trace_error(to({{"embed", 3}}), {x}),
             Catch::Contains("transpose: {embed 3} is not an order of {batch 2, embed 3}"));
  CHECK_THAT(trace_error(to({{"embed", 3}, {"batch", 4}}), {x}),
             Catch::Contains("is not an order of"));
}
