#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Build from(AxisName axis) {
  return [axis](const auto& in) { return std::vector{gather(in[0], axis, in[1])}; };
}

/// The plain loop.
Array picked(const Array& x, AxisName axis, const Array& index, const Axes& axes) {
  return looped(axes, [&](std::vector<Index> where) {
    const auto i = static_cast<int64_t>(at(index, where));
    if (i < 0 || i >= x.type.axes.size_of(axis)) return 0.0;
    where.push_back({axis, i});
    return at(x, where);
  });
}

struct Case {
  const char* name;
  Axes x, index, out;
};

const std::vector<Case> kCases = {
    {"an embedding",
     {{"vocab", 5}, {"embed", 3}},
     {{"batch", 2}, {"position", 4}},
     {{"batch", 2}, {"position", 4}, {"embed", 3}}},
    {"along the last axis",
     {{"embed", 3}, {"vocab", 5}},
     {{"batch", 2}},
     {{"embed", 3}, {"batch", 2}}},
    {"one pick a row", {{"batch", 3}, {"vocab", 5}}, {{"batch", 3}}, {{"batch", 3}}},
    {"several picks a row",
     {{"batch", 3}, {"vocab", 5}, {"embed", 2}},
     {{"position", 2}, {"batch", 3}},
     {{"batch", 3}, {"position", 2}, {"embed", 2}}},
    {"a single index", {{"vocab", 5}, {"embed", 3}}, {}, {{"embed", 3}}},
    {"of a vector of one", {{"vocab", 1}}, {{"position", 3}}, {{"position", 3}}},
};

}  // namespace

TEST_CASE("gather's gradient is that of central differences, repeated indices included", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const Array x = random_real(c.x, 1), index = random_ids(c.index, c.x.size_of("vocab"), 2);
    CHECK(worst_gradient_error(from("vocab"), {x, index}) < kGradientTolerance);
  }
}

TEST_CASE("gather picks rows by name, batch axes one to one", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const Array x = random_real(c.x, 1), index = random_ids(c.index, c.x.size_of("vocab"), 2);
    CHECK(difference(evaluate(from("vocab"), {x, index})[0], picked(x, "vocab", index, c.out)) ==
          0);
  }
}

TEST_CASE("an index out of range gathers 0 and gets no gradient", "[ops]") {
  const Array x = random_real({{"vocab", 3}, {"embed", 2}}, 1);
  const Array index = ids({{"position", 4}}, {-1, 2, 3, 1000000});
  const Array y = evaluate(from("vocab"), {x, index})[0];
  CHECK(y.values == std::vector<double>{0, 0, x.values[4], x.values[5], 0, 0, 0, 0});
  CHECK(worst_gradient_error(from("vocab"), {x, index}) < kGradientTolerance);
}

TEST_CASE("gather reads a strided operand and a strided index", "[ops]") {
  const Build f = [](const auto& in) {
    const Axes order = {{"vocab", 5}, {"embed", 3}}, turned = {{"position", 4}, {"batch", 2}};
    return std::vector{gather(transpose(in[0], order), "vocab", transpose(in[1], turned))};
  };
  const Array x = random_real({{"embed", 3}, {"vocab", 5}}, 1),
              index = random_ids({{"batch", 2}, {"position", 4}}, 5, 2);
  const Axes out = {{"position", 4}, {"batch", 2}, {"embed", 3}};
  CHECK(difference(evaluate(f, {x, index})[0], picked(x, "vocab", index, out)) == 0);
  CHECK(worst_gradient_error(f, {x, index}) < kGradientTolerance);
}

TEST_CASE("gather refuses what does not fit, naming both operands", "[ops]") {
  const Array x = random_real({{"vocab", 3}, {"embed", 2}}, 1);
  CHECK_THAT(trace_error(from("vocab"), {x, random_real({{"position", 2}}, 1)}),
             Catch::Contains("gather: the index is not i32"));
  CHECK_THAT(trace_error(from("head"), {x, ids({}, {1})}),
             Catch::Contains("there is no axis head"));
  CHECK_THAT(trace_error(from("vocab"), {x, ids({{"vocab", 1}}, {1})}),
             Catch::Contains("the index has the axis vocab itself"));
  const std::string error = trace_error(from("vocab"), {x, ids({{"embed", 1}}, {1})});
  CHECK_THAT(error, Catch::Contains("a shared axis has two sizes"));
  CHECK_THAT(error, Catch::Contains("f64 {vocab 3, embed 2}, i32 {embed 1}"));
}
