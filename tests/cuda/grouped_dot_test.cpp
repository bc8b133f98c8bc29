// grouped_dot and the gradients of its weights on the emulated card.
#include "cuda/card_agreement.h"
#include "kernels/cuda/device/arguments.h"
#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Of f32 gradients through sines of products of some hundred elements, and of sums of bf16 by
/// tensor cores, which round in a way of their own.
constexpr double kProductTolerance = 2e-5;

const Build kGrouped = [](const std::vector<NamedArray>& in) {
  return std::vector{grouped_dot(in[0], in[1], std::span(in).subspan(2))};
};

struct Case {
  const char* name;
  int64_t rows, choices, in, out, groups, chosen;
};

/// Parts of a tile; rows that are no whole pieces of 16 bytes; several tiles and pieces; one group.
constexpr Case kCases[] = {{"part of a tile", 5, 1, 3, 4, 3, 3},
                           {"one row", 1, 1, 1, 1, 2, 2},
                           {"tiles and a rest, one group empty", 70, 2, 17, 33, 4, 3},
                           {"several tiles and pieces", 75, 2, 72, 136, 3, 2},
                           {"all of one group", 130, 1, 8, 8, 3, 1}};

/// x has one row for all choices or one for each; weights lie either way.
std::vector<OperandSpec> operands(const Case& c, bool own_rows, bool turned) {
  Axes x = {{"row", c.rows}};
  if (own_rows) x = unite(x, {{"choice", c.choices}});
  const Axes straight = {{"in", c.in}, {"out", c.out}}, other = {{"out", c.out}, {"in", c.in}};
  std::vector<OperandSpec> specs = {
      {unite(x, {{"in", c.in}})}, {{{"row", c.rows}, {"choice", c.choices}}, Kind::kIds, c.chosen}};
  for (int64_t g = 0; g < c.groups; ++g) specs.push_back({turned ? other : straight});
  return specs;
}

std::vector<Array> made(const std::vector<OperandSpec>& specs) {
  std::vector<Array> inputs;
  for (size_t i = 0; i < specs.size(); ++i)
    inputs.push_back(make_array(specs[i], Layout::kPlain, static_cast<uint32_t>(i) + 1));
  return inputs;
}

}  // namespace

TEST_CASE("grouped_dot and its gradients on the card agree with reference, in any order of threads",
          "[cuda][card]") {
  for (const Case& c : kCases)
    for (const bool own_rows : {false, true})
      for (const bool turned : {false, true}) {
        if (c.in > 64 && own_rows != turned) continue;
        INFO(c.name << (own_rows ? ", rows of each choice" : "") << (turned ? ", turned" : ""));
        const std::vector<Array> inputs = made(operands(c, own_rows, turned));
        CHECK(card_error(with_gradients(kGrouped), inputs) <= kProductTolerance);
        CHECK(card_error(kGrouped, narrowed(inputs)) <= kProductTolerance);
        CHECK(card_error(with_gradients(kGrouped), narrowed(inputs)) <= kBf16Tolerance);
      }
}

TEST_CASE("grouped_dot on the card takes operands in all layouts", "[cuda][card]") {
  const std::vector<OperandSpec> specs = operands(kCases[2], false, true);
  CHECK(worst_card_error(specs, with_gradients(kGrouped)) <= kProductTolerance);
  CHECK(worst_card_error(specs, kGrouped, true) <= kProductTolerance);
}

TEST_CASE("a row of no group gives 0 on the card and moves no weight", "[cuda][card]") {
  const Array x = random_real({{"row", 4}, {"in", 2}}, 1),
              group = ids({{"row", 4}}, {-1, 0, 2, 1000000});
  const std::vector<Array> in = {x, group, random_real({{"in", 2}, {"out", 1}}, 2),
                                 random_real({{"in", 2}, {"out", 1}}, 3)};
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const Array y = evaluate(kGrouped, in, *backend, DType::f32)[0];
  CHECK(y.values[0] == 0);
  CHECK(y.values[1] != 0);
  CHECK(y.values[2] == 0);
  CHECK(y.values[3] == 0);
  const Build total = [](const std::vector<NamedArray>& of) {
    return std::vector{sum(kGrouped(of)[0], {{"row", 4}, {"out", 1}})};
  };
  CHECK(gradient(total, in, 2, *backend, DType::f32).values[0] == Approx(x.values[2]));
  const Array of_none = gradient(total, in, 3, *backend, DType::f32);
  CHECK(of_none.values == std::vector<double>{0, 0});
}

TEST_CASE("grouped_dot stays whole on the card, but for more groups than a kernel's arguments hold",
          "[cuda][card]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const auto count = [&](int64_t groups) {
    std::vector<Array> inputs = {random_real({{"row", 3}, {"in", 2}}, 1),
                                 random_ids({{"row", 3}}, groups, 2)};
    const Array weight = random_real({{"in", 2}, {"out", 2}}, 3);
    inputs.insert(inputs.end(), static_cast<size_t>(groups), weight);
    const Function function = optimise(trace(kGrouped, inputs, DType::f32), *backend);
    return count_nodes(function, "grouped_dot");
  };
  CHECK(count(cuda::GroupedArguments::kMostGroups) == 1);
  CHECK(count(cuda::GroupedArguments::kMostGroups + 1) == 0);
}
