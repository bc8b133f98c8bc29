#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Build into(const Axes& axes) {
  return [axes](const auto& in) { return std::vector{scatter_add(in[0], axes, "vocab", in[1])}; };
}

struct Case {
  const char* name;
  Axes updates, index, out;
};

const std::vector<Case> kCases = {
    {"rows of an embedding",
     {{"batch", 2}, {"position", 4}, {"embed", 3}},
     {{"batch", 2}, {"position", 4}},
     {{"vocab", 5}, {"embed", 3}}},
    {"along the last axis",
     {{"batch", 6}, {"embed", 2}},
     {{"batch", 6}},
     {{"embed", 2}, {"vocab", 3}}},
    {"batched",
     {{"batch", 2}, {"position", 5}},
     {{"batch", 2}, {"position", 5}},
     {{"batch", 2}, {"vocab", 3}}},
    {"summed over an axis of the updates alone",
     {{"position", 3}, {"embed", 2}},
     {{"position", 3}},
     {{"vocab", 4}}},
    {"one update", {{"embed", 2}}, {}, {{"vocab", 3}, {"embed", 2}}},
};

}  // namespace

TEST_CASE("scatter_add's gradient is that of central differences", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const Array updates = random_real(c.updates, 1),
                index = random_ids(c.index, c.out.size_of("vocab"), 2);
    CHECK(worst_gradient_error(into(c.out), {updates, index}) < kGradientTolerance);
  }
}

TEST_CASE("scatter_add adds every update at its index", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const Array updates = random_real(c.updates, 1),
                index = random_ids(c.index, c.out.size_of("vocab"), 2);
    const Array expected = looped(c.out, [&](const auto& where) {
      double total = 0;
      for (const auto& from : indices(c.updates)) {
        bool here = true;
        for (const Index& to : where) {
          for (const Index& other : from)
            here = here && (other.axis != to.axis || other.at == to.at);
          if (to.axis == AxisName("vocab"))
            here = here && at(index, from) == static_cast<double>(to.at);
        }
        if (here) total += at(updates, from);
      }
      return total;
    });
    CHECK(difference(evaluate(into(c.out), {updates, index})[0], expected) < kRoundingTolerance);
  }
}

TEST_CASE("updates that meet are added in the order of their position", "[ops]") {
  // In f32 any other order would give another sum.
  const Array updates = array({{"position", 4}}, {0x1p24, 1, 1, -0x1p24});
  const Array index = ids({{"position", 4}}, {1, 1, 1, 1});
  CHECK(evaluate(into({{"vocab", 2}}), {updates, index}, DType::f32)[0].values ==
        std::vector<double>{0, 0});
  const Array other = array({{"position", 4}}, {1, 1, 0x1p24, -0x1p24});
  CHECK(evaluate(into({{"vocab", 2}}), {other, index}, DType::f32)[0].values ==
        std::vector<double>{0, 2});
}

TEST_CASE("an update out of range goes nowhere", "[ops]") {
  const Array updates = counting({{"position", 4}});
  const Array index = ids({{"position", 4}}, {-1, 2, 3, 0});
  CHECK(evaluate(into({{"vocab", 3}}), {updates, index})[0].values == std::vector<double>{4, 0, 2});
  CHECK(worst_gradient_error(into({{"vocab", 3}}), {updates, index}) < kGradientTolerance);
}

TEST_CASE("scatter_add is the gradient of gather", "[ops]") {
  const Array x = random_real({{"vocab", 4}, {"embed", 2}}, 1),
              index = ids({{"position", 5}}, {3, 0, 3, 3, 1});
  const Build f = [](const auto& in) {
    const NamedArray y = gather(in[0], "vocab", in[1]);
    return std::vector{sum(y, y.axes())};
  };
  const auto backend = make_backend("reference");
  CHECK(gradient(f, {x, index}, 0, *backend).values == std::vector<double>{1, 1, 1, 1, 0, 0, 3, 3});
}

TEST_CASE("scatter_add refuses what does not fit", "[ops]") {
  const Array updates = random_real({{"position", 2}}, 1), index = ids({{"position", 2}}, {0, 1});
  CHECK_THAT(trace_error(into({{"vocab", 3}}), {updates, updates}),
             Catch::Contains("scatter_add: the index is not i32"));
  CHECK_THAT(trace_error(into({{"embed", 3}}), {updates, index}),
             Catch::Contains("the result has no axis vocab"));
  CHECK_THAT(trace_error(into({{"vocab", 3}}), {updates, ids({{"batch", 1}}, {0})}),
             Catch::Contains("the index has an axis that the updates lack"));
  CHECK_THAT(trace_error(into({{"vocab", 3}, {"embed", 2}}), {updates, index}),
             Catch::Contains("the updates lack an axis of {vocab 3, embed 2}"));
  CHECK_THAT(trace_error(into({{"vocab", 3}}), {random_real({{"vocab", 3}}, 1), ids({}, {1})}),
             Catch::Contains("the updates have the axis vocab themselves"));
}
