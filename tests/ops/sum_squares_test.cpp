#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
Build sharded(AxisName shard) {
  return [shard](const auto& in) { return std::vector{sum_squares(in[0], shard)}; };
}
}  // namespace

TEST_CASE("sum_squares is the sum of all squares, whatever the shard axis", "[ops]") {
  const Array x = counting({{"vocab", 3}, {"embed", 2}, {"head", 2}});
  for (const char* shard : {"vocab", "embed", "head"}) {
    const Array y = evaluate(sharded(shard), {x})[0];
    CHECK(y.type.axes.empty());
    CHECK(y.values[0] == 650);
  }
}

TEST_CASE("sum_squares sums a shard's own elements first, then over the shards", "[ops]") {
  const Axis vocab{"vocab", 5}, embed{"embed", 7};
  const Build by_hand = [&](const auto& in) {
    return std::vector{sum(sum(in[0] * in[0], {vocab}), {embed})};
  };
  const Array x = random_real({vocab, embed}, 1);
  CHECK(same_bits(evaluate(sharded("embed"), {x}, DType::f32), evaluate(by_hand, {x}, DType::f32)));
}

TEST_CASE("sum_squares of a scalar and of the shard axis alone", "[ops]") {
  CHECK(evaluate(sharded("embed"), {array({}, {-3})})[0].values[0] == 9);
  CHECK(evaluate(sharded("embed"), {array({{"embed", 2}}, {3, -4})})[0].values[0] == 25);
}

TEST_CASE("sum_squares refuses a shard axis that is not there, and has no gradient", "[ops]") {
  const Array x = random_real({{"vocab", 3}}, 1);
  CHECK_THAT(trace_error(sharded("embed"), {x}),
             Catch::Contains("sum_squares: there is no axis embed"));
  const Build differentiated = [](const auto& in) {
    const NamedArray wrt[] = {in[0]};
    return backprop(sum_squares(in[0], "vocab"), wrt);
  };
  CHECK_THAT(trace_error(differentiated, {x}), Catch::Contains("sum_squares has no gradient"));
}
