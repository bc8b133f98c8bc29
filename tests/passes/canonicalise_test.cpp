#include "passes/passes.h"
#include "support/checks.h"
#include "support/random_function.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"embed", 3}};

Function traced(const Build& build, size_t arguments = 1) {
  return trace(build, std::vector<Array>(arguments, random_real(kX, 1)), DType::f32);
}

size_t nodes_after(const Build& build, size_t arguments = 1) {
  return canonicalise(traced(build, arguments)).graph.nodes().size();
}

}  // namespace

TEST_CASE("equal nodes become one", "[passes]") {
  CHECK(nodes_after([](const auto& in) { return std::vector{exp(in[0]) + exp(in[0])}; }) == 3);
  CHECK(nodes_after([](const auto& in) {  // equal only once their operands are one
          return std::vector{log(exp(in[0])) * log(exp(in[0]))};
        }) == 4);
  CHECK(nodes_after([](const auto& in) {
          return std::vector{sum(in[0], {{"embed", 3}}), sum(in[0], {{"batch", 2}})};
        }) == 3);
}

TEST_CASE("constants are equal by their bits", "[passes]") {
  const Build zeros = [](const auto& in) {
    Graph& graph = in[0].graph();
    return std::vector{constant(graph, 0.0, DType::f32), constant(graph, -0.0, DType::f32),
                       constant(graph, 0.0, DType::f32)};
  };
  CHECK(count_nodes(canonicalise(traced(zeros)), "constant") == 2);
}

TEST_CASE("copies made for the backward pass stay apart from what they copy", "[passes]") {
  Function f = traced([](const auto& in) { return std::vector{exp(in[0])}; });
  Node copy = f.graph.node(f.results[0].value.node);
  copy.origin.generation = 1;
  f.results.push_back({"copy", {f.graph.append(std::move(copy)), 0}});
  CHECK(count_nodes(canonicalise(f), "map") == 2);
}

TEST_CASE("unused nodes go, arguments stay in their place", "[passes]") {
  const Function f = canonicalise(traced(
      [](const auto& in) {
        tanh(exp(in[0]));
        return std::vector{in[1]};
      },
      2));
  CHECK(f.graph.nodes().size() == 1);
  CHECK(f.arguments.size() == 2);
  const Array a = counting(kX), b = random_real(kX, 2);
  const auto backend = make_backend("reference");
  CHECK(run(duplicate(f), {b, a}, *backend)[0].values == a.values);
}

TEST_CASE("multiplication and division by one go, other factors stay", "[passes]") {
  const auto is_argument = [](const Build& build) {
    const Function f = canonicalise(traced(build));
    return f.graph.nodes().size() == 1 && f.results[0].value == Value{0, 0};
  };
  CHECK(is_argument([](const auto& in) { return std::vector{in[0] * 1.0}; }));
  CHECK(is_argument([](const auto& in) { return std::vector{in[0] / 1.0}; }));
  CHECK(is_argument([](const auto& in) {
    return std::vector{constant(in[0].graph(), 1, DType::f32) * (in[0] * 1.0)};
  }));
  CHECK_FALSE(is_argument([](const auto& in) { return std::vector{in[0] * 2.0}; }));
  CHECK_FALSE(is_argument([](const auto& in) { return std::vector{in[0] + 1.0}; }));
  CHECK_FALSE(is_argument(
      [](const auto& in) { return std::vector{constant(in[0].graph(), 1, DType::f32) / in[0]}; }));
}

TEST_CASE("an argument plus a product becomes dot_add where that loses nothing", "[passes]") {
  const auto folded = [](const Build& build) {
    return count_nodes(canonicalise(traced(build, 3)), "dot_add") == 1;
  };
  const auto product = [](const std::vector<NamedArray>& in) { return dot(in[1], in[2], kX); };
  CHECK(folded([&](const auto& in) { return std::vector{in[0] + product(in)}; }));
  CHECK_FALSE(folded([&](const auto& in) { return std::vector{product(in) + in[0]}; }));
  CHECK_FALSE(folded([&](const auto& in) { return std::vector{exp(in[0]) + product(in)}; }));
  CHECK_FALSE(folded([&](const auto& in) {  // the product is wanted too
    const NamedArray p = product(in);
    return std::vector{in[0] + p, p};
  }));
  CHECK_FALSE(folded([&](const auto& in) {  // the product's axes lie in another order
    return std::vector{in[0] + dot(in[1], in[2], {{"embed", 3}, {"batch", 2}})};
  }));
}

TEST_CASE("what a backend cannot do is not folded back after decomposition", "[passes]") {
  const Build build = [](const auto& in) { return std::vector{in[0] + dot(in[1], in[2], kX)}; };
  const auto backend = make_backend("reference");
  const Function f = optimise(traced(build, 3), *backend);
  for (const Node& node : f.graph.nodes())
    CHECK((node.op->view || backend->supports(node, f.graph.input_types(node))));
}

TEST_CASE("a loss is computed once, with its gradients", "[passes]") {
  const Build build = [](const auto& in) {
    const LinearXent out = linear_xent(in[0], in[1], in[2], in[3]);
    const NamedArray wrt[] = {in[0], in[1]};
    auto results = backprop(out.loss, wrt);
    results.insert(results.end(), {out.loss, out.token_loss});
    return results;
  };
  const Axes tokens = {{"batch", 2}, {"position", 3}};
  const std::vector in = {random_real({{"batch", 2}, {"position", 3}, {"embed", 4}}, 1),
                          random_real({{"vocab", 5}, {"embed", 4}}, 2), random_ids(tokens, 5, 3),
                          positive(tokens, 4)};
  const Function f = trace(build, in, DType::f32), g = canonicalise(f);
  CHECK(count_nodes(f, "linear_xent") == 2);
  CHECK(count_nodes(g, "linear_xent") == 1);
  const auto backend = make_backend("reference");
  CHECK(same_bits(run(decompose(duplicate(f), *backend), in, *backend),
                  run(decompose(duplicate(g), *backend), in, *backend)));
}

TEST_CASE("canonicalise changes no bit and nothing the second time", "[passes]") {
  const auto backend = make_backend("reference");
  for (uint32_t seed = 0; seed < 40; ++seed) {
    INFO("seed " << seed);
    const RandomFunction random = random_function(seed, DType::f32);
    const Function once = canonicalise(random.function);
    CHECK(once.graph.nodes().size() <= random.function.graph.nodes().size());
    CHECK(canonicalise(once).graph.print() == once.graph.print());
    CHECK(same_bits(run(decompose(duplicate(once), *backend), random.inputs, *backend),
                    run(decompose(duplicate(random.function), *backend), random.inputs, *backend)));
  }
}

TEST_CASE("a cast to f32 and back to bf16 is no cast, the other way round it rounds", "[passes]") {
  const auto casts_of = [](DType dtype, DType through) {
    Function f("test");
    f.result("y", cast(cast(f.argument("x", {dtype, kX}), through), dtype));
    return count_nodes(canonicalise(f), "cast");
  };
  CHECK(casts_of(DType::bf16, DType::f32) == 0);
  CHECK(casts_of(DType::f32, DType::bf16) == 2);
}

TEST_CASE("sums of bf16 over leading axes are not widened first, with the same bits", "[passes]") {
  const Axes axes = {{"batch", 70}, {"embed", 33}};
  const auto reduced = [&](Reduce kind, const char* axis) {
    Function f("f");
    const NamedArray x = f.argument("x", {DType::bf16, axes});
    f.result("y", reduce(kind, cast(x, DType::f32), {{axis, axes.size_of(axis)}}));
    return f;
  };
  const std::vector<Array> x = {random_array({DType::bf16, axes}, 5)};
  for (const char* device : {"reference", "cpu"}) {
    const auto backend = make_backend(device, 2);
    for (const Reduce kind : {Reduce::kSum, Reduce::kMax, Reduce::kMin}) {
      for (const char* axis : {"batch", "embed"}) {
        INFO(device << " " << axis << " " << static_cast<int>(kind));
        const bool narrow = kind == Reduce::kSum && axis == std::string_view("batch");
        CHECK(count_nodes(canonicalise(reduced(kind, axis)), "cast") == (narrow ? 0 : 1));
        CHECK(same_bits(run(canonicalise(reduced(kind, axis)), x, *backend),
                        run(reduced(kind, axis), x, *backend)));
      }
    }
  }
}

TEST_CASE("an argument plus a product of bf16 factors becomes one node", "[passes]") {
  Function f("test");
  const NamedArray acc = f.argument("acc", {DType::f32, {{"embed", 3}}});
  const NamedArray a = f.argument("a", {DType::bf16, kX});
  const NamedArray b = f.argument("b", {DType::bf16, {{"batch", 2}}});
  f.result("y", acc + dot(a, b, {{"embed", 3}}), 0);
  CHECK(count_nodes(canonicalise(f), "dot_add") == 1);
}
