#include "base/random.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 3}, {"position", 2}, {"embed", 7}};
const Axes kRows = {{"batch", 3}};

Build drop(double rate) {
  return [rate](const auto& in) { return std::vector{dropout(in[0], in[1], rate)}; };
}

/// The definition, from the random bits on.
Build plain(double rate) {
  return [rate](const auto& in) {
    const NamedArray u = uniform(random_bits(in[1], in[0].axes()), in[0].dtype());
    const NamedArray one = constant(in[0].graph(), 1 - rate, in[0].dtype());
    return std::vector{in[0] / one * map(Map::kLess, u, one)};
  };
}

}  // namespace

TEST_CASE("dropout's gradient is that of central differences", "[ops]") {
  CHECK(worst_gradient_error(drop(0.3), {random_real(kX, 1), random_keys(kRows, 2)}) <
        kGradientTolerance);
  CHECK(worst_gradient_error(drop(0.5), {random_real({{"embed", 5}}, 1), random_keys({}, 2)}) <
        kGradientTolerance);
}

TEST_CASE("dropout's own rule agrees with backprop through its definition", "[ops]") {
  const std::vector inputs = {random_real(kX, 1), random_keys(kRows, 2)};
  CHECK(rule_difference(drop(0.25), plain(0.25), inputs, 0) < kRoundingTolerance);
}

TEST_CASE("dropout keeps what its row's key and the index inside the row say", "[ops]") {
  const double rate = 0.25;
  const Array x = random_real(kX, 1), keys = random_keys(kRows, 2);
  const Array y = evaluate(drop(rate), {x, keys})[0];
  size_t dropped = 0;
  for (size_t i = 0; i < y.values.size(); ++i) {
    const size_t row = i / 14;
    const Key key{static_cast<uint32_t>(keys.values[2 * row]),
                  static_cast<uint32_t>(keys.values[2 * row + 1])};
    const bool kept = uniform_from_bits(random_bits(key, i % 14)) < 1 - rate;
    CHECK(std::abs(y.values[i] - (kept ? x.values[i] / (1 - rate) : 0)) < kRoundingTolerance);
    dropped += !kept;
  }
  CHECK(dropped > 0);
  CHECK(dropped < y.values.size() / 2);
}

TEST_CASE("a row is dropped the same in any batch", "[ops]") {
  const Array x = random_real(kX, 1), keys = random_keys(kRows, 2);
  const Array whole = evaluate(drop(0.5), {x, keys})[0];
  const Axes one = {{"batch", 1}, {"position", 2}, {"embed", 7}};
  const Array last = array(one, {x.values.end() - 14, x.values.end()});
  const Array key{{DType::u32, {{"batch", 1}, key_word()}},
                  {keys.values.end() - 2, keys.values.end()}};
  const Array alone = evaluate(drop(0.5), {last, key})[0];
  CHECK(alone.values == std::vector<double>(whole.values.end() - 14, whole.values.end()));
}

TEST_CASE("dropout at rate 0 is the value itself", "[ops]") {
  Function f("test");
  const NamedArray x = f.argument("x", {DType::f32, kX});
  CHECK(dropout(x, NamedArray(), 0).value() == x.value());
}

TEST_CASE("dropout drops about as many as it is told", "[ops]") {
  const Axes axes = {{"embed", 4000}};
  Array x = counting(axes);
  for (double& value : x.values) value = 1;
  const Array y = evaluate(drop(0.1), {x, random_keys({}, 5)})[0];
  const auto zeros = std::count(y.values.begin(), y.values.end(), 0.0);
  // Four standard deviations of a binomial around 400.
  CHECK(zeros > 400 - 4 * 19);
  CHECK(zeros < 400 + 4 * 19);
}

TEST_CASE("dropout refuses a rate of 1, other keys and other leading axes", "[ops]") {
  const Array x = random_real(kX, 1), keys = random_keys(kRows, 2);
  CHECK_THAT(trace_error(drop(1), {x, keys}), Catch::Contains("the rate is not in [0, 1)"));
  CHECK_THAT(trace_error(drop(-0.1), {x, keys}), Catch::Contains("the rate is not in [0, 1)"));
  CHECK_THAT(trace_error(drop(0.1), {x, x}), Catch::Contains("keys are u32"));
  CHECK_THAT(trace_error(drop(0.1), {x, random_keys({{"batch", 2}}, 1)}),
             Catch::Contains("x does not begin with the keys' axes"));
  CHECK_THAT(trace_error(drop(0.1), {x, random_keys({{"position", 2}}, 1)}),
             Catch::Contains("x does not begin with the keys' axes"));
}
