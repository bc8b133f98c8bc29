#include "passes/passes.h"
#include "support/checks.h"
#include "support/forwarding_backend.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"embed", 3}};

/// The reference backend, claiming or disclaiming one op.
class Claiming final : public ForwardingBackend {
 public:
  Claiming(std::string op, bool supported) : op_(std::move(op)), supported_(supported) {}
  bool supports(const Node& node, std::span<const Type> inputs) const override {
    return node.op->name == op_ ? supported_ : ForwardingBackend::supports(node, inputs);
  }

 private:
  std::string op_;
  bool supported_;
};

}  // namespace

TEST_CASE("only what the backend lacks is decomposed", "[passes]") {
  const Build build = [](const auto& in) {
    return std::vector{gelu(softmax(in[0], "embed"), Gelu::kTanh)};
  };
  const Function f = trace(build, {random_real(kX, 1)});
  const Function all = decompose(duplicate(f), *make_backend("reference"));
  CHECK(count_nodes(all, "softmax") == 0);
  CHECK(count_nodes(all, "gelu") == 0);
  const Function some = decompose(duplicate(f), Claiming("softmax", true));
  CHECK(count_nodes(some, "softmax") == 1);
  CHECK(count_nodes(some, "gelu") == 0);
}

TEST_CASE("composites inside a decomposition are decomposed in turn", "[passes]") {
  const Build build = [](const auto& in) {
    AttentionOptions options;
    options.dropout_rate = 0.5;
    options.dropout_keys = in[2];
    return std::vector{attention(in[0], in[1], in[1], options)};
  };
  const Axes q = {{"batch", 2}, {"position", 3}, {"kv_head", 1}, {"head_dim", 2}},
             k = {{"batch", 2}, {"key_position", 3}, {"kv_head", 1}, {"head_dim", 2}};
  const Function f = decompose(
      trace(build, {random_real(q, 1), random_real(k, 2), random_keys({{"batch", 2}}, 3)}),
      *make_backend("reference"));
  CHECK(count_nodes(f, "attention") == 0);
  CHECK(count_nodes(f, "dropout") == 0);
  CHECK(count_nodes(f, "random_bits") == 1);
}

TEST_CASE("every output keeps its type, whatever order the decomposition makes", "[passes]") {
  const Build build = [](const auto& in) {
    const NamedArray y = layer_norm(in[0], in[1], NamedArray(), 1e-5);
    const NamedArray wrt[] = {in[1]};
    return backprop(weighted_sum({y}), wrt);
  };
  const Axes x = {{"batch", 2}, {"head", 2}, {"embed", 3}}, weight = {{"embed", 3}, {"head", 2}};
  const Function f =
      decompose(trace(build, {random_real(x, 1), positive(weight, 2)}), *make_backend("reference"));
  CHECK(f.graph.type(f.results[0].value).axes == weight);
}

TEST_CASE("a decomposition carries the origin of its node", "[passes]") {
  Function f("test");
  const NamedArray x = f.argument("x", {DType::f32, kX});
  Origin origin;
  origin.path = f.graph.intern_path("h.0.mlp");
  origin.region = f.graph.add_region({"h.0", Remat::kFull});
  origin.phase = Phase::kBackward;
  origin.generation = 1;
  {
    const OriginScope scope(f.graph, origin, false);
    f.result("y", gelu(x, Gelu::kErf));
  }
  const Function g = decompose(duplicate(f), *make_backend("reference"));
  REQUIRE(g.graph.nodes().size() > 2);
  const NodeId gelu_node = f.results[0].value.node;
  for (NodeId id = 1; id < g.graph.nodes().size(); ++id) {
    CHECK(g.graph.describe(id) == f.graph.describe(gelu_node));
    CHECK(g.graph.node(id).origin.region == origin.region);
    CHECK(g.graph.node(id).origin.phase == Phase::kBackward);
    CHECK(g.graph.node(id).origin.generation == 1);
  }
}

TEST_CASE("a primitive that the backend lacks is our own bug", "[passes]") {
  const Build build = [](const auto& in) { return std::vector{exp(in[0])}; };
  const Function f = trace(build, {random_real(kX, 1)});
  CHECK_THAT(error_of([&] { decompose(duplicate(f), Claiming("map", false)); }),
             Catch::Contains("forwarding has no kernel for map"));
}

TEST_CASE("a composite of bf16 is its f32 form between casts", "[passes]") {
  Function f("test");
  const NamedArray x = f.argument("x", {DType::bf16, kX});
  f.result("y", gelu(x, Gelu::kTanh));
  Function g("test");
  const NamedArray same = g.argument("x", {DType::bf16, kX});
  g.result("y", cast(gelu(cast(same, DType::f32), Gelu::kTanh), DType::bf16));
  const auto backend = make_backend("reference");
  const std::vector<Array> inputs = {random_array({DType::bf16, kX}, 1)};
  const Function plain = decompose(duplicate(f), *backend);
  CHECK(count_nodes(plain, "gelu") == 0);
  CHECK(count_nodes(plain, "cast") == 2);
  CHECK(same_bits(run(duplicate(plain), inputs, *backend),
                  run(decompose(std::move(g), *backend), inputs, *backend)));
}
