// What stands for what while a pass makes one function from another.
#include "passes/rewriter.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kAxes = {{"a", 4}};

/// The arguments x and y; parts of x, the second one plus y, and an exponential.
Function example() {
  Function f("example");
  const NamedArray x = f.argument("x", {DType::f32, kAxes}), y = f.argument("y", {DType::f32, {}});
  const int64_t sizes[] = {1, 3};
  const std::vector<NamedArray> parts = partition(x, "a", sizes);
  f.result("sum", parts[1] + y);
  f.result("first", exp(parts[0]), 1);
  return f;
}

}  // namespace

TEST_CASE("what keeps every node is the same function", "[passes]") {
  const Function f = example();
  Rewriter rewriter(f);
  for (NodeId id = 0; id < f.graph.nodes().size(); ++id) rewriter.keep(id);
  const Function same = rewriter.finish();
  CHECK(same.graph.print() == f.graph.print());
  REQUIRE(same.results.size() == 2);
  CHECK(same.results[0].value == f.results[0].value);
  CHECK(same.results[1].name == "first");
  CHECK(same.results[1].donated == 1);
  CHECK(same.arguments.size() == 2);
}

TEST_CASE("a user reads what stands for its operand, output by output", "[passes]") {
  const Function f = example();
  Rewriter rewriter(f);
  for (const NodeId id : {1u, 0u, 2u}) rewriter.keep(id);  // y first
  CHECK(rewriter.mapped({0, 0}) == Value{1, 0});
  CHECK(rewriter.mapped({2, 1}) == Value{2, 1});
  rewriter.replace(Value{2, 0}, {0, 0});  // the exponential of y instead
  rewriter.keep(3);
  rewriter.keep(4);
  const Function other = rewriter.finish();
  CHECK(other.graph.node(3).inputs == std::vector<Value>{{2, 1}, {0, 0}});
  CHECK(other.graph.node(4).inputs == std::vector<Value>{{0, 0}});
}

TEST_CASE("one new node stands for two old ones, and an unread one is left out", "[passes]") {
  const Function f = example();
  Rewriter rewriter(f);
  for (NodeId id = 0; id < 3; ++id) rewriter.keep(id);
  Node node = rewriter.moved(4);
  const NodeId made = rewriter.replace(4, std::move(node));
  rewriter.replace(3, made);
  const Function one = rewriter.finish();
  CHECK(one.graph.nodes().size() == 4);
  CHECK(one.results[0].value == Value{3, 0});
  CHECK(one.results[1].value == Value{3, 0});
}
