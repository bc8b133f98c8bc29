#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Build best(AxisName axis, int64_t k) {
  return [axis, k](const auto& in) { return std::vector{top_k(in[0], axis, {"choice", k})}; };
}

}  // namespace

TEST_CASE("top_k gives the indices that a stable sort puts first, on both backends", "[ops]") {
  for (const Axes& axes :
       {Axes{{"token", 6}, {"expert", 5}}, Axes{{"expert", 5}, {"token", 6}}, Axes{{"expert", 5}}})
    for (const int64_t k : {1, 2, 5})
      for (const char* backend : {"reference", "cpu"}) {
        INFO(to_string(axes) << ", " << k << ", " << backend);
        Array x = random_real(axes, 1);
        for (double& v : x.values) v = std::round(v * 3);  // some are equal
        Axes out = without(axes, "expert");
        out.push_back({"choice", k});
        const Array expected = looped(out, [&](const std::vector<Index>& where) {
          std::vector<int64_t> order(5);
          std::iota(order.begin(), order.end(), 0);
          const auto value = [&](int64_t e) { return at(x, join(where, {{"expert", e}})); };
          std::stable_sort(order.begin(), order.end(),
                           [&](int64_t a, int64_t b) { return value(a) > value(b); });
          return static_cast<double>(order[static_cast<size_t>(where.back().at)]);
        });
        const Array y = evaluate(best("expert", k), {x}, *make_backend(backend), DType::f32)[0];
        CHECK(y.values == expected.values);
        CHECK(y.type == Type{DType::i32, out});
      }
}

TEST_CASE("top_k takes NaN for minus infinity and reads strided operands", "[ops]") {
  const double infinite = INFINITY;
  for (const char* backend : {"reference", "cpu"}) {
    const auto order = [&](std::vector<double> values) {
      const Array x = array({{"expert", static_cast<int64_t>(values.size())}}, values);
      return evaluate(best("expert", x.type.axes.elements()), {x}, *make_backend(backend),
                      DType::f32)[0]
          .values;
    };
    CHECK(order({NAN, 1, -infinite, NAN, infinite}) == std::vector<double>{4, 1, 0, 2, 3});
    const Build turned = [](const auto& in) {
      return std::vector{
          top_k(transpose(in[0], {{"token", 2}, {"expert", 3}}), "expert", {"choice", 1})};
    };
    const Array x = array({{"expert", 3}, {"token", 2}}, {1, 6, 5, 4, 3, 2});
    CHECK(evaluate(turned, {x}, *make_backend(backend), DType::f32)[0].values ==
          std::vector<double>{1, 0});
  }
}

TEST_CASE("top_k refuses what it cannot choose", "[ops]") {
  const Array x = random_real({{"token", 2}, {"expert", 3}}, 1);
  CHECK_THAT(trace_error(best("head", 1), {x}), Catch::Contains("top_k: there is no axis head"));
  CHECK_THAT(trace_error(best("expert", 4), {x}), Catch::Contains("there are not 4 of expert"));
  CHECK_THAT(trace_error(best("expert", 0), {x}), Catch::Contains("there are not 0 of expert"));
  CHECK_FALSE(trace_error(best("expert", 1), {ids({{"expert", 2}}, {1, 2})}).empty());
}
