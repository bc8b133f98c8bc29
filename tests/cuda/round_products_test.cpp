// The pass that lets products give what they are rounded to: which products, and with which bits.
#include "cuda/fake_cuda.h"
#include "ops/entries.h"
#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axis kM{"m", 67}, kK{"k", 37}, kN{"n", 41}, kH{"h", 2};

/// x [m, k], weight [k, h, n], bias [h, n]; all bf16.
std::vector<Array> operands() {
  std::vector<Array> in = {random_real({kM, kK}, 1), random_real({kK, kH, kN}, 2),
                           random_real({kH, kN}, 3)};
  for (Array& array : in) array.type.dtype = DType::bf16;
  return in;
}

NamedArray widened(NamedArray bias, const Axes& axes) {
  return cast(broadcast(bias, axes), DType::f32);
}

size_t rounded_products(const Build& build) {
  FakeCuda fake;
  const Function function = trace(build, operands(), DType::f32);
  return count_nodes(round_products(function, *FakeCuda::backend()), "rounded_dot");
}

}  // namespace

TEST_CASE("products that are only rounded give their rounded form, with a bias or none", "[cuda]") {
  const Axes out = {kM, kH, kN};
  const Build plain = [&](const auto& in) {
    return std::vector{cast(dot(in[0], in[1], out), DType::bf16)};
  };
  const Build with_bias = [&](const auto& in) {
    return std::vector{cast(dot(in[0], in[1], out) + widened(in[2], out), DType::bf16)};
  };
  const Build exchanged = [&](const auto& in) {
    return std::vector{cast(widened(in[2], out) + dot(in[1], in[0], out), DType::bf16)};
  };
  for (const Build& build : {plain, with_bias, exchanged}) {
    FakeCuda fake;
    const auto card = FakeCuda::backend();
    const Function function = trace(build, operands(), DType::f32);
    const Function rounded = round_products(function, *card);
    CHECK(count_nodes(rounded, "rounded_dot") == 1);
    for (const char* gone : {"dot", "map", "cast", "broadcast"})
      CHECK(count_nodes(rounded, gone) == 0);
    CHECK(count_nodes(round_products(function, *make_backend("cpu")), "rounded_dot") == 0);
    // The emulated library sums as our kernel does, so not a bit may differ from node by node.
    const auto found = evaluate(build, operands(), *card, DType::f32);
    CHECK(fake.cublas.products() > 0);
    CHECK(same_bits(found, run(duplicate(function), operands(), *card)));
  }
}

TEST_CASE("several equal roundings of a product are one", "[cuda]") {
  const Axes out = {kM, kH, kN};
  const Build build = [&](const auto& in) {
    const NamedArray product = dot(in[0], in[1], out);
    return std::vector{cast(product + widened(in[2], out), DType::bf16),
                       cast(product + widened(in[2], out), DType::bf16)};
  };
  CHECK(rounded_products(build) == 1);
}

TEST_CASE("a product that something else reads stays in f32", "[cuda]") {
  const Axes out = {kM, kH, kN};
  const auto product = [&](const auto& in) { return dot(in[0], in[1], out); };
  CHECK(rounded_products([&](const auto& in) {  // a result
          const NamedArray p = product(in);
          return std::vector{p, cast(p, DType::bf16)};
        }) == 0);
  CHECK(rounded_products([&](const auto& in) {  // another reader
          const NamedArray p = product(in);
          return std::vector{cast(p, DType::bf16), exp(p)};
        }) == 0);
  CHECK(rounded_products([&](const auto& in) {  // with a bias and without
          const NamedArray p = product(in);
          return std::vector{cast(p, DType::bf16), cast(p + widened(in[2], out), DType::bf16)};
        }) == 0);
  CHECK(rounded_products([&](const auto& in) {  // the sum is read
          const NamedArray sum = product(in) + widened(in[2], out);
          return std::vector{cast(sum, DType::bf16), exp(sum)};
        }) == 0);
  CHECK(rounded_products([&](const auto& in) {  // not a bias of a factor's own axes
          const NamedArray wrong = cast(sum(in[2], {kN}), DType::bf16);
          return std::vector{cast(product(in) + widened(wrong, out), DType::bf16)};
        }) == 0);
  CHECK(rounded_products([&](const auto& in) {  // factors in f32
          return std::vector{
              cast(dot(cast(in[0], DType::f32), cast(in[1], DType::f32), out), DType::bf16)};
        }) == 0);
}
