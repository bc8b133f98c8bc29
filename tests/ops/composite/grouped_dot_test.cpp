#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Of an array's largest entry: f32 sums of up to 300 products, and gradients through sines of
/// them, which turn a rounding of a value around 20 into an absolute error.
constexpr double kProductTolerance = 2e-5;

const Build kGrouped = [](const auto& in) {
  return std::vector{grouped_dot(in[0], in[1], std::span(in).subspan(2))};
};

struct Case {
  const char* name;
  Axes x, group, weight, out;
  int64_t groups, chosen;  ///< weights, and how many of them some row may be of
};

const std::vector<Case> kCases = {
    {"rows",
     {{"row", 7}, {"in", 3}},
     {{"row", 7}},
     {{"in", 3}, {"out", 2}},
     {{"row", 7}, {"out", 2}},
     4,
     4},
    {"weights turned, some of no row",
     {{"row", 7}, {"in", 3}},
     {{"row", 7}},
     {{"out", 2}, {"in", 3}},
     {{"row", 7}, {"out", 2}},
     5,
     2},
    {"several choices of a row",
     {{"batch", 2}, {"position", 3}, {"in", 3}},
     {{"batch", 2}, {"position", 3}, {"choice", 2}},
     {{"out", 4}, {"in", 3}},
     {{"batch", 2}, {"position", 3}, {"choice", 2}, {"out", 4}},
     3,
     3},
    {"rows of each choice",
     {{"batch", 2}, {"choice", 2}, {"in", 3}},
     {{"batch", 2}, {"choice", 2}},
     {{"in", 3}, {"out", 4}},
     {{"batch", 2}, {"choice", 2}, {"out", 4}},
     3,
     3},
    {"two axes in",
     {{"row", 4}, {"head", 2}, {"in", 3}},
     {{"row", 4}},
     {{"out", 2}, {"head", 2}, {"in", 3}},
     {{"row", 4}, {"out", 2}},
     2,
     2},
    {"one group",
     {{"row", 3}, {"in", 2}},
     {{"row", 3}},
     {{"in", 2}, {"out", 2}},
     {{"row", 3}, {"out", 2}},
     1,
     1},
};

std::vector<Array> operands(const Case& c) {
  std::vector<Array> in = {random_real(c.x, 1), random_ids(c.group, c.chosen, 2)};
  for (int64_t g = 0; g < c.groups; ++g)
    in.push_back(random_real(c.weight, static_cast<uint32_t>(3 + g)));
  return in;
}

}  // namespace

TEST_CASE("grouped_dot's gradients are those of central differences", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    CHECK(worst_gradient_error(kGrouped, operands(c)) < kGradientTolerance);
  }
}

TEST_CASE("grouped_dot multiplies each row by the weight of its group", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const std::vector<Array> in = operands(c);
    const auto inner = indices(intersect(c.weight, c.x));
    const Array expected = looped(c.out, [&](const auto& where) {
      const Array& weight = in[2 + static_cast<size_t>(at(in[1], where))];
      double total = 0;
      for (const auto& k : inner) total += at(in[0], join(where, k)) * at(weight, join(where, k));
      return total;
    });
    CHECK(difference(evaluate(kGrouped, in)[0], expected) < kRoundingTolerance);
  }
}

TEST_CASE("a row of no group gives 0 and moves no weight, on both backends", "[ops]") {
  const Array x = random_real({{"row", 4}, {"in", 2}}, 1),
              group = ids({{"row", 4}}, {-1, 0, 2, 1000000});
  const std::vector<Array> in = {x, group, random_real({{"in", 2}, {"out", 1}}, 2),
                                 random_real({{"in", 2}, {"out", 1}}, 3)};
  for (const char* backend : {"reference", "cpu"}) {
    const Array y = evaluate(kGrouped, in, *make_backend(backend), DType::f32)[0];
    CHECK(y.values[0] == 0);
    CHECK(y.values[1] != 0);
    CHECK(y.values[2] == 0);
    CHECK(y.values[3] == 0);
    const auto all = gradient(
        [](const auto& of) {
          return std::vector{sum(kGrouped(of)[0], {{"row", 4}, {"out", 1}})};
        },
        in, 2, *make_backend(backend), DType::f32);
    CHECK(all.values[0] == Approx(x.values[2]));
  }
}

TEST_CASE("the cpu's grouped_dot and its gradients agree with the reference, for any threads",
          "[ops]") {
  const Backends b;
  struct Sized {
    const char* name;
    int64_t rows, choices, in, out, groups, chosen;
  };
  for (const Sized& s : {Sized{"part of a tile", 5, 1, 3, 4, 3, 3},
                         Sized{"tiles and a rest, one choice empty", 70, 2, 17, 33, 4, 3},
                         Sized{"blocks of columns and a rest", 9, 2, 300, 270, 2, 2},
                         Sized{"all of one group", 130, 1, 8, 8, 3, 1}}) {
    const Axes weights[] = {{{"out", s.out}, {"in", s.in}}, {{"in", s.in}, {"out", s.out}}};
    const Axes group = {{"row", s.rows}, {"choice", s.choices}};
    for (const Axes& weight : weights)
      for (const Axes& x : {Axes{{"row", s.rows}, {"in", s.in}},
                            Axes{{"row", s.rows}, {"choice", s.choices}, {"in", s.in}}}) {
        INFO(s.name << ", x " << to_string(x) << ", weights " << to_string(weight));
        std::vector<OperandSpec> in = {{x}, {group, Kind::kIds, s.chosen}};
        for (int64_t g = 0; g < s.groups; ++g) in.push_back({weight});
        CHECK(worst_error(b, in, with_gradients(kGrouped), "grouped_outer") <= kProductTolerance);
      }
  }
}

TEST_CASE("grouped_dot refuses what does not fit, naming the operands", "[ops]") {
  const Array x = random_real({{"row", 3}, {"in", 2}}, 1), group = ids({{"row", 3}}, {0, 1, 0}),
              w = random_real({{"in", 2}, {"out", 2}}, 2);
  CHECK_THAT(trace_error(kGrouped, {x, random_real({{"row", 3}}, 1), w}),
             Catch::Contains("grouped_dot: the groups are not i32"));
  CHECK_THAT(trace_error(kGrouped, {x, group, w, random_real({{"in", 2}, {"out", 3}}, 2)}),
             Catch::Contains("the weights differ in type"));
  CHECK_THAT(trace_error(kGrouped, {x, group, random_real({{"k", 2}, {"out", 2}}, 2)}),
             Catch::Contains("rows and weights share no axis"));
  CHECK_THAT(trace_error(kGrouped, {x, ids({{"choice", 2}}, {0, 1}), w}),
             Catch::Contains("lack an axis of the rows"));
}
