#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Build along(AxisName axis) {
  return [axis](const auto& in) { return std::vector{scatter(in[0], in[1], axis, in[2])}; };
}

struct Case {
  const char* name;
  Axes x, updates, index;
};

const std::vector<Case> kCases = {
    {"rows of a cache, in another order",
     {{"batch", 2}, {"kv_head", 3}, {"key_position", 5}, {"head_dim", 2}},
     {{"batch", 2}, {"position", 2}, {"kv_head", 3}, {"head_dim", 2}},
     {{"batch", 2}, {"position", 2}}},
    {"the same rows of all",
     {{"batch", 2}, {"key_position", 4}},
     {{"position", 3}, {"batch", 2}},
     {{"position", 3}}},
    {"the index has the last axis", {{"key_position", 7}}, {{"position", 3}}, {{"position", 3}}},
    {"one element", {{"key_position", 7}}, {}, {}},
};

}  // namespace

TEST_CASE("scatter replaces what the index names and keeps the rest", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const Array x = random_real(c.x, 1), updates = random_real(c.updates, 2),
                index = random_ids(c.index, c.x.size_of("key_position"), 3);
    const Array expected = looped(c.x, [&](const auto& where) {
      double value = at(x, where);
      for (const auto& from : indices(c.updates)) {
        bool here = true;
        for (const Index& to : where) {
          for (const Index& other : from)
            here = here && (other.axis != to.axis || other.at == to.at);
          if (to.axis == AxisName("key_position"))
            here = here && at(index, from) == static_cast<double>(to.at);
        }
        if (here) value = at(updates, from);  // of several the last
      }
      return value;
    });
    for (const char* device : {"reference", "cpu"})
      CHECK(
          evaluate(along("key_position"), {x, updates, index}, *make_backend(device), DType::f32)[0]
              .values == evaluate([](const auto& in) { return std::vector{in[0] + 0.0}; },
                                  {expected}, DType::f32)[0]
                             .values);
  }
}

TEST_CASE("an update outside of the axis is dropped, and of several the last stays", "[ops]") {
  const Array x = counting({{"vocab", 3}}), updates = array({{"position", 4}}, {7, 8, 9, 5});
  const Array index = ids({{"position", 4}}, {-1, 2, 3, 2});
  CHECK(evaluate(along("vocab"), {x, updates, index})[0].values ==
        std::vector<double>{x.values[0], x.values[1], 5});
}

TEST_CASE("scatter refuses what does not fit", "[ops]") {
  const Array x = random_real({{"vocab", 3}, {"embed", 2}}, 1),
              updates = random_real({{"position", 2}, {"embed", 2}}, 1),
              index = ids({{"position", 2}}, {0, 1});
  CHECK_THAT(trace_error(along("vocab"), {x, updates, updates}),
             Catch::Contains("scatter: the index is not i32"));
  CHECK_THAT(trace_error(along("mlp"), {x, updates, index}),
             Catch::Contains("there is no axis mlp"));
  CHECK_THAT(trace_error(along("vocab"), {x, random_real({{"position", 2}}, 1), index}),
             Catch::Contains("the updates' axes are not {embed 2, position 2}"));
  CHECK_THAT(trace_error(along("vocab"), {x, index, index}),
             Catch::Contains("the updates are of another type"));
}
