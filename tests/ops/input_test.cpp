#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("an input reads the array that its index names", "[ops]") {
  const Build swapped = [](const auto& in) { return std::vector{in[1], in[0]}; };
  const Array a = counting({{"embed", 3}}), b = ids({{"batch", 2}}, {5, 6});
  CHECK(same_bits(evaluate(swapped, {a, b}), {b, a}));
}

TEST_CASE("an argument that is read twice is one array", "[ops]") {
  Function f("test");
  const Type type{DType::f32, {{"embed", 2}}};
  const NamedArray first = f.argument("x", type), again = input(f.graph, type, 0);
  f.result("y", first + again);
  const auto backend = make_backend("reference");
  CHECK(run(std::move(f), {array(type.axes, {1, 2})}, *backend)[0].values ==
        std::vector<double>{2, 4});
}

TEST_CASE("an argument keeps its name and type", "[ops]") {
  Function f("test");
  const NamedArray x = f.argument("tokens", {DType::i32, {{"batch", 2}}});
  CHECK(to_string(x.type()) == "i32 {batch 2}");
  REQUIRE(f.arguments.size() == 1);
  CHECK(f.arguments[0].name == "tokens");
  CHECK(f.arguments[0].type == x.type());
}
