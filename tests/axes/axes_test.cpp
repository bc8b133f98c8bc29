#include "axes/axes.h"

#include <thread>

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
const Axes kX = {{"batch", 2}, {"position", 3}, {"embed", 5}};
}

TEST_CASE("equal texts are one axis name, others are another", "[axes]") {
  CHECK(AxisName("batch") == AxisName(std::string("batch")));
  CHECK(AxisName("batch") != AxisName("position"));
  CHECK(AxisName("batch").text() == "batch");
  CHECK(AxisName() == AxisName(""));
  CHECK(AxisName("").text().empty());
}

TEST_CASE("names are interned alike from many threads", "[axes]") {
  constexpr int kThreads = 4, kNames = 200;
  std::vector<std::vector<AxisName>> seen(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&seen, t] {
        for (int i = 0; i < kNames; ++i)
          seen[static_cast<size_t>(t)].emplace_back("thread_test_" + std::to_string(i));
      });
  }
  for (const auto& names : seen) CHECK(names == seen[0]);
  for (int i = 0; i < kNames; ++i)
    CHECK(seen[0][static_cast<size_t>(i)].text() == "thread_test_" + std::to_string(i));
}

TEST_CASE("axes know their order, sizes and number of elements", "[axes]") {
  CHECK(kX.size() == 3);
  CHECK(kX.find("position") == 1);
  CHECK(kX.find("mlp") == -1);
  CHECK(kX.contains("embed"));
  CHECK(kX.size_of("embed") == 5);
  CHECK(kX.elements() == 30);
  CHECK(Axes{}.elements() == 1);
  CHECK(Axes{{"batch", 0}, {"embed", 5}}.elements() == 0);
  CHECK(to_string(kX) == "{batch 2, position 3, embed 5}");
  CHECK(to_string(Axes{}) == "{}");
}

TEST_CASE("axes are equal in the same order only", "[axes]") {
  CHECK(kX == Axes{{"batch", 2}, {"position", 3}, {"embed", 5}});
  CHECK_FALSE(kX == Axes{{"position", 3}, {"batch", 2}, {"embed", 5}});
  CHECK_FALSE(kX == Axes{{"batch", 2}, {"position", 3}});
  CHECK_FALSE(kX == Axes{{"batch", 2}, {"position", 3}, {"embed", 4}});
}

TEST_CASE("axes refuse a name twice, a negative size, and a ninth axis", "[axes]") {
  CHECK_THAT(error_of([] {
               Axes{{"batch", 2}, {"batch", 3}};
             }),
             Catch::Contains("axis batch twice in {batch 2}"));
  CHECK_THAT(error_of([] { Axes{{"batch", -1}}; }), Catch::Contains("negative size -1"));
  CHECK_THAT(error_of([] { kX.size_of("mlp"); }), Catch::Contains("no axis mlp in {batch 2"));
  Axes many;
  for (size_t i = 0; i < Axes::kMaxAxes; ++i) many.push_back({"axis_" + std::to_string(i), 2});
  CHECK_THAT(error_of([&] { many.push_back({"axis_8", 2}); }), Catch::Contains("more than 8 axes"));
}

TEST_CASE("subsets go by name and size, in any order", "[axes]") {
  CHECK(is_subset({}, kX));
  CHECK(is_subset({{"embed", 5}, {"batch", 2}}, kX));
  CHECK_FALSE(is_subset({{"embed", 4}}, kX));
  CHECK_FALSE(is_subset({{"mlp", 5}}, kX));
  CHECK_FALSE(is_subset(kX, {{"embed", 5}}));
}

TEST_CASE("axes subtract, unite, intersect and replace in the first one's order", "[axes]") {
  CHECK(without(kX, Axes{{"position", 99}}) == Axes{{"batch", 2}, {"embed", 5}});
  CHECK(without(kX, "batch") == Axes{{"position", 3}, {"embed", 5}});
  CHECK(without(kX, "mlp") == kX);
  CHECK(unite({{"embed", 5}, {"mlp", 7}}, {{"batch", 2}, {"embed", 5}}) ==
        Axes{{"embed", 5}, {"mlp", 7}, {"batch", 2}});
  CHECK(intersect(kX, {{"embed", 5}, {"batch", 2}, {"mlp", 7}}) ==
        Axes{{"batch", 2}, {"embed", 5}});
  CHECK(replace(kX, "position", {{"a", 1}, {"b", 3}}) ==
        Axes{{"batch", 2}, {"a", 1}, {"b", 3}, {"embed", 5}});
  CHECK(replace(kX, "position", {}) == Axes{{"batch", 2}, {"embed", 5}});
}

TEST_CASE("uniting two sizes of one axis is refused", "[axes]") {
  CHECK_THAT(
      error_of([] {
        unite(kX, {{"embed", 4}});
      }),
      Catch::Contains("axis embed has two sizes: {batch 2, position 3, embed 5} and {embed 4}"));
}

TEST_CASE("row-major strides end in 1", "[axes]") {
  const auto strides = row_major_strides(kX);
  CHECK(strides[0] == 15);
  CHECK(strides[1] == 5);
  CHECK(strides[2] == 1);
  CHECK(strides[3] == 0);
}

TEST_CASE("a type has elements, bytes and a text", "[axes]") {
  const Type type{DType::f64, kX};
  CHECK(type.elements() == 30);
  CHECK(type.bytes() == 240);
  CHECK(to_string(type) == "f64 {batch 2, position 3, embed 5}");
  CHECK_FALSE(type == Type{DType::f32, kX});
}
