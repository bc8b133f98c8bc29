#include <set>

#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/checks.h"
#include "support/random_function.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axis kBatch{"batch", 4}, kIn{"in", 64}, kOut{"out", 64};
constexpr int kLayers = 4;

/// Gradients of a chain of layers, all added to accumulators only when the chain is done.
Function accumulate() {
  Function f("accumulate", DType::f32);
  const Type weight{DType::f32, {kIn, kOut}};
  NamedArray x = f.argument("x", {DType::f32, {kBatch, kIn}});
  std::vector<NamedArray> products;
  for (int i = 0; i < kLayers; ++i) {
    const NamedArray y = tanh(x * 0.5);
    products.push_back(dot(x, rename(y, "in", "out"), weight.axes));
    x = y;
  }
  for (int i = 0; i < kLayers; ++i) {
    const NamedArray total = f.argument("total", weight);
    f.result("total", total + products[static_cast<size_t>(i)], i + 1);
  }
  return f;
}

/// Where the operands of node `id` end.
NodeId last_operand(const Function& f, NodeId id) {
  NodeId last = 0;
  for (const Value& input : f.graph.node(id).inputs) last = std::max(last, input.node);
  return last;
}

}  // namespace

TEST_CASE("what replaces an argument stands right behind its last operand", "[passes]") {
  const Function f = schedule(accumulate());
  for (const Result& result : f.results)
    CHECK(result.value.node == last_operand(f, result.value.node) + 1);
}

TEST_CASE("every operand stands before its use", "[passes]") {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const Function f = schedule(random_function(seed, DType::f32).function);
    for (NodeId id = 0; id < f.graph.nodes().size(); ++id)
      for (const Value& input : f.graph.node(id).inputs) CHECK(input.node < id);
  }
}

TEST_CASE("a random order is a valid one, its own for each seed", "[passes]") {
  const RandomFunction random = random_function(3, DType::f32);
  const std::string as_traced = schedule(random.function).graph.print();
  std::set<std::string> orders = {as_traced};
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Function f = schedule(random.function, seed);
    CHECK(f.graph.nodes().size() == random.function.graph.nodes().size());
    for (NodeId id = 0; id < f.graph.nodes().size(); ++id)
      for (const Value& input : f.graph.node(id).inputs) CHECK(input.node < id);
    CHECK(schedule(random.function, seed).graph.print() == f.graph.print());
    orders.insert(f.graph.print());
  }
  CHECK(orders.size() > 5);
}

TEST_CASE("random orders change no bit, nor what replaces an argument", "[passes]") {
  for (const char* device : {"reference", "cpu"}) {
    const auto backend = make_backend(device);
    for (uint32_t seed = 0; seed < 40; ++seed) {
      INFO("seed " << seed << " on " << device);
      const RandomFunction random = random_function(seed, DType::f32);
      const auto expected = run(optimise(random.function, *backend), random.inputs, *backend);
      for (const uint64_t order : {1, 2, 3})
        CHECK(same_bits(run(optimise(random.function, *backend, {.schedule_seed = order}),
                            random.inputs, *backend, {.debug = true}),
                        expected));
    }
  }
}

TEST_CASE("another order of steps changes no bit", "[passes]") {
  const auto backend = make_backend("reference");
  for (uint32_t seed = 0; seed < 40; ++seed) {
    INFO("seed " << seed);
    const RandomFunction random = random_function(seed, DType::f32);
    const Function f = decompose(duplicate(random.function), *backend);
    CHECK(same_bits(run(schedule(f), random.inputs, *backend),
                    run(duplicate(f), random.inputs, *backend)));
  }
}

TEST_CASE("early accumulation takes less memory", "[passes]") {
  const auto backend = make_backend("reference");
  const auto bytes = [&](Function f) { return compile(std::move(f), *backend).arena_bytes(); };
  const int64_t product = 64 * 64 * 4;
  CHECK(bytes(accumulate()) >= kLayers * product);
  CHECK(bytes(schedule(accumulate())) < 3 * product);
}
