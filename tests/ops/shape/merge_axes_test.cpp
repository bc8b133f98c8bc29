#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"kv_head", 3}, {"head_dim", 5}};

Build merge(const Axes& pieces, AxisName name) {
  return [=](const auto& in) { return std::vector{merge_axes(in[0], pieces, name)}; };
}

}  // namespace

TEST_CASE("merge_axes' gradient is that of central differences", "[ops]") {
  CHECK(worst_gradient_error(merge({{"kv_head", 3}, {"head_dim", 5}}, "embed"),
                             {random_real(kX, 1)}) < kGradientTolerance);
  CHECK(worst_gradient_error(merge({{"batch", 2}, {"kv_head", 3}}, "rows"), {random_real(kX, 1)}) <
        kGradientTolerance);
  CHECK(worst_gradient_error(merge(kX, "all"), {random_real(kX, 1)}) < kGradientTolerance);
  CHECK(worst_gradient_error(merge({{"head_dim", 5}}, "embed"), {random_real(kX, 1)}) <
        kGradientTolerance);
}

TEST_CASE("merge_axes keeps the values in their order", "[ops]") {
  const Array x = counting(kX);
  const Array y = evaluate(merge({{"kv_head", 3}, {"head_dim", 5}}, "embed"), {x})[0];
  CHECK(y.type.axes == Axes{{"batch", 2}, {"embed", 15}});
  CHECK(y.values == x.values);
}

TEST_CASE("merge_axes of a view gathers what lies apart", "[ops]") {
  const Axes order = {{"kv_head", 3}, {"batch", 2}, {"head_dim", 5}};
  const Build f = [&](const auto& in) {
    return std::vector{merge_axes(transpose(in[0], order), {{"batch", 2}, {"head_dim", 5}}, "row")};
  };
  const Array x = counting(kX), y = evaluate(f, {x})[0];
  const Array expected = looped({{"kv_head", 3}, {"row", 10}}, [&](const auto& where) {
    return at(x, {where[0], {"batch", where[1].at / 5}, {"head_dim", where[1].at % 5}});
  });
  CHECK(difference(y, expected) == 0);
  CHECK(worst_gradient_error(f, {x}) < kGradientTolerance);
}

TEST_CASE("merge_axes undoes split_axis", "[ops]") {
  const Build f = [](const auto& in) {
    const Axes pieces = {{"kv_head", 3}, {"head_dim", 2}};
    return std::vector{merge_axes(split_axis(in[0], "embed", pieces), pieces, "embed")};
  };
  const Array x = counting({{"batch", 2}, {"embed", 6}});
  CHECK(same_bits(evaluate(f, {x}), {x}));
}

TEST_CASE("merge_axes refuses axes that are not neighbours in that order", "[ops]") {
  const Array x = random_real(kX, 1);
  const auto refused = Catch::Contains("are not neighbours in {batch 2, kv_head 3, head_dim 5}");
  CHECK_THAT(trace_error(merge({{"batch", 2}, {"head_dim", 5}}, "e"), {x}), refused);
  CHECK_THAT(trace_error(merge({{"head_dim", 5}, {"kv_head", 3}}, "e"), {x}), refused);
  CHECK_THAT(trace_error(merge({{"head_dim", 5}, {"mlp", 3}}, "e"), {x}), refused);
  CHECK_THAT(trace_error(merge({{"kv_head", 2}}, "e"), {x}), refused);
  CHECK_THAT(trace_error(merge({}, "e"), {x}), Catch::Contains("there are no axes to merge"));
}
