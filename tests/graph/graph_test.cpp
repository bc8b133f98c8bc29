#include "graph/graph.h"

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
const Type kX{DType::f32, {{"batch", 2}, {"embed", 3}}};
}

TEST_CASE("a handle knows its type and graph, an empty one nothing", "[graph]") {
  Function f("test");
  const NamedArray x = f.argument("x", kX);
  CHECK(x);
  CHECK(x.type() == kX);
  CHECK(x.dtype() == DType::f32);
  CHECK(&x.graph() == &f.graph);
  const NamedArray nothing;
  CHECK_FALSE(nothing);
  CHECK_THAT(error_of([&] { nothing.type(); }), Catch::Contains("an empty NamedArray has no type"));
  CHECK(sizeof(NamedArray) == 16);
}

TEST_CASE("operands of two graphs do not mix", "[graph]") {
  Function f("one"), g("other");
  const NamedArray x = f.argument("x", kX), y = g.argument("y", kX);
  CHECK_THAT(error_of([&] { x + y; }), Catch::Contains("map: an operand of another graph"));
  CHECK_THAT(error_of([&] { x + NamedArray(); }),
             Catch::Contains("map: an operand of another graph"));
}

TEST_CASE("an op that does not fit adds no node", "[graph]") {
  Function f("test");
  const NamedArray x = f.argument("x", kX);
  CHECK_FALSE(error_of([&] { sum(x, {{"mlp", 1}}); }).empty());
  CHECK(f.graph.nodes().size() == 1);
}

TEST_CASE("an error names the module path, the source line and the operands", "[graph]") {
  Function f("test");
  const NamedArray x = f.argument("x", kX);
  Origin origin;
  origin.path = f.graph.intern_path("transformer.h.0.attn");
  const OriginScope scope(f.graph, origin, false);
  const std::string error = error_of([&] { rename(x, "mlp", "embed"); });
  CHECK_THAT(error, Catch::Contains("rename: there is no axis mlp"));
  CHECK_THAT(error, Catch::Contains("transformer.h.0.attn, tests/graph/graph_test.cpp:"));
  CHECK_THAT(error, Catch::Contains("the operands are f32 {batch 2, embed 3}"));
}

TEST_CASE("nodes carry the origin of the innermost scope", "[graph]") {
  Function f("test");
  Graph& graph = f.graph;
  const NamedArray x = f.argument("x", kX);
  const auto region_of = [&](NamedArray y) { return graph.node(y.value().node).origin.region; };
  Origin outer, inner;
  outer.region = graph.add_region({"outer", Remat::kFull});
  inner.region = graph.add_region({"inner", Remat::kSaveDots});
  {
    const OriginScope one(graph, outer, false);
    CHECK(region_of(exp(x)) == outer.region);
    {
      const OriginScope two(graph, inner, false);
      CHECK(region_of(exp(x)) == inner.region);
    }
    CHECK(region_of(exp(x)) == outer.region);
  }
  CHECK(region_of(exp(x)) == 0);
  CHECK(graph.region(inner.region).remat == Remat::kSaveDots);
  CHECK(graph.region(0).remat == Remat::kNone);
}

TEST_CASE("a scope that keeps locations stamps its own line on every node", "[graph]") {
  Function f("test");
  const NamedArray x = f.argument("x", kX);
  const NamedArray model = exp(x);
  const Origin origin = f.graph.node(model.value().node).origin;
  const OriginScope scope(f.graph, origin, true);
  const NamedArray derived = log(x);
  CHECK(f.graph.describe(derived.value().node) == f.graph.describe(model.value().node));
}

TEST_CASE("paths are interned and shared with empty copies", "[graph]") {
  Graph graph;
  const uint32_t a = graph.intern_path("wte"), b = graph.intern_path("wpe");
  CHECK(a != b);
  CHECK(graph.intern_path("wte") == a);
  CHECK(graph.intern_path("") == 0);
  const Graph copy = graph.empty_copy();
  CHECK(copy.nodes().empty());
  CHECK(copy.real() == graph.real());
  CHECK(copy.path(b) == "wpe");
}

TEST_CASE("a graph prints a node a line", "[graph]") {
  Function f("test");
  const NamedArray x = f.argument("x", kX);
  const std::vector<int64_t> sizes = {1, 2};
  Origin origin;
  origin.path = f.graph.intern_path("mlp");
  const OriginScope scope(f.graph, origin, false);
  exp(partition(x, "embed", sizes)[1]);
  CHECK(f.graph.print() ==
        "%0 = input() f32 {batch 2, embed 3}\n"
        "%1 = partition(%0) f32 {batch 2, embed 1} f32 {batch 2, embed 2}  ; mlp\n"
        "%2 = map#2(%1.1) f32 {batch 2, embed 2}  ; mlp\n");
}

TEST_CASE("a view is contiguous when its elements lie side by side in order", "[graph]") {
  const Axes axes = {{"a", 2}, {"b", 1}, {"c", 3}};
  CHECK(View::row_major(axes).is_contiguous());
  CHECK(View{axes, {3, 99, 1}, 7}.is_contiguous());  // an axis of size 1 does not matter
  CHECK_FALSE(View{axes, {1, 1, 2}, 0}.is_contiguous());
  CHECK_FALSE(View{axes, {0, 3, 1}, 0}.is_contiguous());
  CHECK_FALSE(View{axes, {6, 6, 2}, 0}.is_contiguous());
  CHECK(View{}.is_contiguous());
}
