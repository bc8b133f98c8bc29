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
  // In f32 a shard of 2^24 and 1 rounds to 2^24; together the two ones would count.
  const Array x = array({{"vocab", 2}, {"embed", 2}}, {4096, 1, 1, 0});
  CHECK(evaluate(sharded("embed"), {x}, DType::f32)[0].values[0] == 0x1p24);
  CHECK(evaluate(sharded("vocab"), {x}, DType::f32)[0].values[0] == 0x1p24);
  const Array apart = array({{"vocab", 2}, {"embed", 2}}, {4096, 0, 1, 1});
  CHECK(evaluate(sharded("vocab"), {apart}, DType::f32)[0].values[0] == 0x1p24 + 2);
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
