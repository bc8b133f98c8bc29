#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kA = {{"m", 3}, {"k", 5}}, kB = {{"k", 5}, {"n", 4}}, kOut = {{"n", 4}, {"m", 3}};

const Build kRounded = [](const auto& in) {
  return std::vector{rounded_dot(in[0], in[1], kOut, in[2])};
};

std::vector<Array> operands(DType dtype) {
  std::vector<Array> in = {random_real(kA, 1), random_real(kB, 2), random_real({{"n", 4}}, 3)};
  for (Array& array : in) array.type.dtype = dtype;
  return in;
}

}  // namespace

TEST_CASE("rounded_dot is a product and a bias in f32, rounded once", "[ops]") {
  const Build plain = [](const auto& in) {
    const NamedArray bias = cast(broadcast(in[2], kOut), DType::f32);
    return std::vector{cast(dot(in[0], in[1], kOut) + bias, DType::bf16)};
  };
  const auto rounded = evaluate(kRounded, operands(DType::bf16), DType::f32);
  CHECK(rounded[0].type == Type{DType::bf16, kOut});
  CHECK(same_bits(rounded, evaluate(plain, operands(DType::bf16), DType::f32)));
}

TEST_CASE("rounded_dot of f32 and without a bias is the product", "[ops]") {
  const Build both = [](const auto& in) {
    return std::vector{rounded_dot(in[0], in[1], kOut), dot(in[0], in[1], kOut)};
  };
  const auto found = evaluate(both, operands(DType::f32), DType::f32);
  CHECK(same_bits({found[0]}, {found[1]}));
}

TEST_CASE("rounded_dot refuses a bias over other axes than the second factor brings", "[ops]") {
  for (const Axes& axes : {Axes{{"m", 3}}, Axes{}, Axes{{"n", 4}, {"m", 3}}, Axes{{"k", 5}}})
    CHECK_THAT(
        trace_error(kRounded, {random_real(kA, 1), random_real(kB, 2), random_real(axes, 3)}),
        Catch::Contains("rounded_dot: the bias has the axes"));
  CHECK_THAT(trace_error(kRounded,
                         {random_real(kA, 1), random_real(kB, 2), ids({{"n", 4}}, {1, 2, 3, 4})}),
             Catch::Contains("operands of two types"));
}
