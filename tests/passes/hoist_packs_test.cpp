// Packed parameters as arguments of the function that reads them.
#include "passes/passes.h"

#include <catch2/catch.hpp>

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axis kBatch{"batch", 2}, kIn{"embed", 3}, kOut{"mlp", 3};

/// Two products with one weight, one with another, and an argument that is not packed.
Function products() {
  Function f("test", Graph(DType::f32, DType::bf16));
  const NamedArray a = f.argument("a", {DType::f32, {kIn, kOut}});
  const NamedArray x = f.argument("x", {DType::bf16, {kBatch, kIn}});
  const NamedArray b = f.argument("b", {DType::f32, {kIn, kOut}});
  const NamedArray shift = f.argument("shift", {DType::f32, {kOut}});
  const Axes out{kBatch, kOut};
  const NamedArray first = dot(x, pack(b), out), second = dot(x, pack(a), out);
  f.result("y", first + second + dot(x, pack(b), out) + shift);
  return f;
}

}  // namespace

TEST_CASE("each packed argument becomes one more argument, in the order of use", "[passes]") {
  const Function f = products(), hoisted = hoist_packs(f);
  REQUIRE(hoisted.arguments.size() == 6);
  for (size_t i = 0; i < 4; ++i) CHECK(hoisted.arguments[i].name == f.arguments[i].name);
  CHECK(hoisted.arguments[4].name == packed_name("b"));
  CHECK(hoisted.arguments[5].name == packed_name("a"));
  for (size_t i = 4; i < 6; ++i) CHECK(hoisted.arguments[i].type == Type{DType::bf16, {kIn, kOut}});
  CHECK(count_nodes(hoisted, "pack") == 0);
  CHECK(count_nodes(hoisted, "dot") == 3);
}

TEST_CASE("hoisting changes no bit", "[passes]") {
  const auto backend = make_backend("reference");
  const std::vector<Array> inputs = {
      random_array({DType::f32, {kIn, kOut}}, 1), random_array({DType::bf16, {kBatch, kIn}}, 2),
      random_array({DType::f32, {kIn, kOut}}, 3), random_array({DType::f32, {kOut}}, 4)};
  std::vector<Array> with_packed = inputs;
  for (const size_t i : {2, 0})  // run() rounds them on the way in
    with_packed.push_back({{DType::bf16, {kIn, kOut}}, inputs[i].values});
  const auto expected = run(optimise(products(), *backend), inputs, *backend);
  CHECK(
      same_bits(run(optimise(hoist_packs(products()), *backend), with_packed, *backend), expected));
}

TEST_CASE("a pack of what is computed stays where it is", "[passes]") {
  Function f("test", Graph(DType::f32, DType::bf16));
  const NamedArray a = f.argument("a", {DType::f32, {kIn}});
  f.result("y", pack(a * 2.0));
  const Function hoisted = hoist_packs(f);
  CHECK(hoisted.arguments.size() == 1);
  CHECK(count_nodes(hoisted, "pack") == 1);
}
