#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
Build squares_of(AxisName kept) {
  return [kept](const auto& in) { return std::vector{sum_squares(in[0], kept)}; };
}
}  // namespace

TEST_CASE("sum_squares sums over all axes but the one that is kept", "[ops]") {
  const Array x = counting({{"vocab", 3}, {"embed", 2}, {"head", 2}});  // 1, 2, 3, ...
  const Array y = evaluate(squares_of("vocab"), {x})[0];
  CHECK(y.type.axes == Axes{{"vocab", 3}});
  CHECK(y.values == std::vector<double>{30, 174, 446});
  for (const char* kept : {"embed", "head"}) {
    const Array halves = evaluate(squares_of(kept), {x})[0];
    CHECK(halves.values[0] + halves.values[1] == 650);
  }
}

TEST_CASE("a row's sum of squares is the same whatever other rows there are", "[ops]") {
  const Array whole = random_real({{"vocab", 7}, {"embed", 37}}, 1);
  const std::vector<double> rows = evaluate(squares_of("vocab"), {whole}, DType::f32)[0].values;
  for (size_t row = 0; row < 7; ++row) {
    const auto begin = whole.values.begin() + static_cast<std::ptrdiff_t>(row * 37);
    const Array one = array({{"vocab", 1}, {"embed", 37}}, {begin, begin + 37});
    CHECK(evaluate(squares_of("vocab"), {one}, DType::f32)[0].values[0] == rows[row]);
  }
}

TEST_CASE("sum_squares of the kept axis alone is each element's square", "[ops]") {
  const Array y = evaluate(squares_of("embed"), {array({{"embed", 2}}, {3, -4})})[0];
  CHECK(y.values == std::vector<double>{9, 16});
}

TEST_CASE("sum_squares refuses an axis that is not there, and has no gradient", "[ops]") {
  const Array x = random_real({{"vocab", 3}}, 1);
  CHECK_THAT(trace_error(squares_of("embed"), {x}),
             Catch::Contains("sum_squares: there is no axis embed"));
  const Build differentiated = [](const auto& in) {
    const NamedArray wrt[] = {in[0]};
    return backprop(sum(sum_squares(in[0], "vocab"), {{"vocab", 3}}), wrt);
  };
  CHECK_THAT(trace_error(differentiated, {x}), Catch::Contains("sum_squares has no gradient"));
}
