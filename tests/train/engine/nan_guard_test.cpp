// The eager debugger's report of the first NaN.
#include "train/engine/nan_guard.h"

#include <cmath>

#include "base/strings.h"
#include "nn/scope.h"
#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/checks.h"
#include "support/fault.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// What running y = sqrt(x) - log(x) below the module "h.3.mlp" throws, and the line of the log.
struct Report {
  std::string text;
  int line = 0;
};

Report report(double x, DType real) {
  Report found;
  Function f("test", real);
  std::vector<nn::Param> params;
  const nn::Scope module = nn::Scope(f, params) / "h" / "3" / "mlp";
  const NamedArray in = f.argument("x", {real, {{"embed", 3}}});
  {
    const OriginScope at = module.enter();
    found.line = __LINE__ + 1;
    const NamedArray logarithm = log(in);
    f.result("y", sqrt(in) - logarithm);
  }
  const auto backend = make_backend("reference");
  Executable e = compile(decompose(std::move(f), *backend), *backend);
  std::vector<double> wide = {1, x, 2}, out(3);
  std::vector<float> narrow(wide.begin(), wide.end());
  void* const input = real == DType::f32 ? static_cast<void*>(narrow.data()) : wide.data();
  std::byte* const arguments[] = {static_cast<std::byte*>(input)};
  std::byte* const results[] = {reinterpret_cast<std::byte*>(out.data())};
  const auto arena = backend->allocate(e.arena_bytes());
  const auto workspace = backend->allocate(e.workspace_bytes());
  e.bind(arena->data(), workspace->data(), arguments, results);
  train::NanGuard guard;
  found.text = failure_of(ErrorKind::kGuard, [&] { e.run(&guard); });
  return found;
}

}  // namespace

TEST_CASE("the first NaN is reported with its op, place, module path and source line", "[train]") {
  for (const DType real : {DType::f32, DType::f64}) {
    const auto [text, line] = report(-1, real);
    INFO(text);
    CHECK_THAT(text, Catch::Contains("the first NaN comes from log in the forward pass"));
    CHECK_THAT(text, Catch::Contains("element 1 of"));
    CHECK_THAT(text, Catch::Contains("h.3.mlp"));
    CHECK_THAT(text, Catch::Contains(cat("nan_guard_test.cpp:", line)));
  }
}

TEST_CASE("infinite values are no NaN, and finite ones pass", "[train]") {
  CHECK(report(1, DType::f32).text.empty());
  CHECK(report(0, DType::f32).text.empty());  // log 0 is -inf, and sqrt 0 + inf is inf
}
