#include "base/bf16.h"
#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axis kIn{"embed", 3}, kOut{"mlp", 2};

Array array_f32(const Axes& axes, std::vector<double> values) {
  return {{DType::f32, axes}, std::move(values)};
}

}  // namespace

TEST_CASE("pack rounds a parameter to bf16, ties to even", "[ops]") {
  Function f("test", Graph(DType::f32, DType::bf16));
  f.result("y", pack(f.argument("w", {DType::f32, {{"embed", 4}}})));
  const Array w = array_f32({{"embed", 4}}, {1, 1 + 0x1p-8, 1 + 0x3p-8, -0.1});
  const Array y = run(std::move(f), {w}, *make_backend("reference"))[0];
  CHECK(y.type.dtype == DType::bf16);
  CHECK(y.values == std::vector<double>{1, 1, 1 + 0x1p-6, Bf16(-0.1f)});
}

TEST_CASE("pack makes no node where products are in the parameter's type", "[ops]") {
  for (const DType real : {DType::f32, DType::f64}) {
    Function f("test", real);
    const NamedArray w = f.argument("w", {real, {kIn}});
    CHECK(pack(w).value() == w.value());
  }
}

TEST_CASE("the gradient of a packed weight is not rounded", "[ops]") {
  Function f("test", Graph(DType::f32, DType::bf16));
  const NamedArray w = f.argument("w", {DType::f32, {kIn, kOut}});
  const NamedArray x = f.argument("x", {DType::bf16, {{"batch", 2}, kIn}});
  const NamedArray y = dot(x, pack(w), {{"batch", 2}, kOut});
  const NamedArray wrt[] = {w, x};
  const auto gradients = backprop(sum(y, y.axes()), wrt);
  CHECK(gradients[1].dtype() == DType::bf16);
  f.result("dw", gradients[0]);
  const Array weight = array_f32({kIn, kOut}, {1, 2, 3, 4, 5, 6});
  // Each sum over the batch needs more digits than bf16 has.
  const Array batch{{DType::bf16, {{"batch", 2}, kIn}}, {1, 2, 4, 0x1p-9, 0x1p-9, 0x1p-9}};
  const Array dw =
      run(optimise(f, *make_backend("reference")), {weight, batch}, *make_backend("reference"))[0];
  CHECK(dw.type.dtype == DType::f32);
  CHECK(dw.values == std::vector<double>{1 + 0x1p-9, 1 + 0x1p-9, 2 + 0x1p-9, 2 + 0x1p-9, 4 + 0x1p-9,
                                         4 + 0x1p-9});
}

TEST_CASE("pack refuses what is no f32 parameter", "[ops]") {
  Function f("test", Graph(DType::f64, DType::bf16));
  const NamedArray w = f.argument("w", {DType::f64, {kIn}});
  CHECK(error_of([&] { pack(w); }).find("only f32 is packed, not f64") != std::string::npos);
}
