#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("a literal is its numbers, in each type", "[ops]") {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32}) {
    Function f("test");
    f.result("y", literal(f.graph, "embed", {3, -1, 2}, dtype));
    const Array y = run(std::move(f), {}, *make_backend("reference"))[0];
    CHECK(y.type == Type{dtype, {{"embed", 3}}});
    CHECK(y.values == std::vector<double>{3, -1, 2});
  }
}
