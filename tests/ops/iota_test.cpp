#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("iota counts from 0 along its axis in every type", "[ops]") {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::u32}) {
    Function f("test");
    f.result("y", iota(f.graph, {"position", 5}, dtype));
    const auto backend = make_backend("reference");
    const Array y = run(std::move(f), {}, *backend)[0];
    CHECK(y.type == Type{dtype, {{"position", 5}}});
    CHECK(y.values == std::vector<double>{0, 1, 2, 3, 4});
  }
}

TEST_CASE("iota of one element is 0", "[ops]") {
  Function f("test");
  f.result("y", iota(f.graph, {"position", 1}, DType::i32));
  const auto backend = make_backend("reference");
  CHECK(run(std::move(f), {}, *backend)[0].values == std::vector<double>{0});
}
