#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"embed", 12}, {"position", 3}};
const Axes kPieces = {{"kv_head", 2}, {"q_group", 3}, {"head_dim", 2}};

Build into(const Axes& pieces) {
  return [pieces](const auto& in) { return std::vector{split_axis(in[0], "embed", pieces)}; };
}

}  // namespace

TEST_CASE("split_axis' gradient is that of central differences", "[ops]") {
  CHECK(worst_gradient_error(into(kPieces), {random_real(kX, 1)}) < kGradientTolerance);
  CHECK(worst_gradient_error(into({{"mlp", 12}}), {random_real(kX, 1)}) < kGradientTolerance);
}

TEST_CASE("split_axis cuts an axis, outermost piece first", "[ops]") {
  const Array x = counting(kX), y = evaluate(into(kPieces), {x})[0];
  CHECK(y.type.axes ==
        Axes{{"batch", 2}, {"kv_head", 2}, {"q_group", 3}, {"head_dim", 2}, {"position", 3}});
  CHECK(y.values == x.values);
}

TEST_CASE("a piece may keep the axis' name", "[ops]") {
  const Array y = evaluate(into({{"head", 4}, {"embed", 3}}), {counting({{"embed", 12}})})[0];
  CHECK(y.type.axes == Axes{{"head", 4}, {"embed", 3}});
}

TEST_CASE("split_axis of a view", "[ops]") {
  const Build f = [](const auto& in) {
    const NamedArray turned = transpose(in[0], {{"embed", 12}, {"position", 3}, {"batch", 2}});
    return std::vector{split_axis(turned, "embed", kPieces)};
  };
  const Array x = counting(kX), y = evaluate(f, {x})[0];
  const Array expected = looped(y.type.axes, [&](const auto& where) {
    return at(x, join(where, {{"embed", where[0].at * 6 + where[1].at * 2 + where[2].at}}));
  });
  CHECK(difference(y, expected) == 0);
  CHECK(worst_gradient_error(f, {x}) < kGradientTolerance);
}

TEST_CASE("split_axis refuses pieces that do not multiply to the axis", "[ops]") {
  const Array x = random_real(kX, 1);
  CHECK_THAT(
      trace_error(into({{"head", 5}, {"head_dim", 2}}), {x}),
      Catch::Contains("split_axis: the pieces {head 5, head_dim 2} do not multiply to embed 12"));
  const Build missing = [](const auto& in) {
    return std::vector{split_axis(in[0], "mlp", {{"a", 2}, {"b", 6}})};
  };
  CHECK_THAT(trace_error(missing, {x}), Catch::Contains("there is no axis mlp"));
}
