#include "runtime/executable.h"

#include <map>

#include "passes/passes.h"
#include "support/allocations.h"
#include "support/checks.h"
#include "support/random_function.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kX = {{"batch", 2}, {"embed", 3}};

/// Memory for an executable, bound for as long as this lives.
struct Bound {
  Executable executable;
  std::vector<std::unique_ptr<Buffer>> memory;

  Bound(Executable e, const Backend& backend) : executable(std::move(e)) {
    const auto take = [&](int64_t bytes) {
      memory.push_back(backend.allocate(bytes + 64));
      return memory.back()->data();
    };
    std::vector<std::byte*> arguments, results;
    for (const Argument& a : executable.arguments()) arguments.push_back(take(a.type.bytes()));
    for (const Result& r : executable.results())
      results.push_back(take(executable.type(r).bytes()));
    executable.bind(take(executable.arena_bytes()), take(executable.workspace_bytes()), arguments,
                    results);
  }
};

class Counting final : public StepObserver {
 public:
  void before(const Node& node) override { started = node.op->name; }
  void after(const Node& node, const std::string& where, void* const* outputs) override {
    CHECK(started == node.op->name);
    CHECK(outputs[0] != nullptr);
    seen.push_back(node.op->name + std::string(" at ") + where);
  }
  std::string started;
  std::vector<std::string> seen;
};

/// A training step in small: products, a norm, attention's parts, a loss, an update in place.
Function step(DType real) {
  Function f("step", real);
  const Axes embed = {{"embed", 4}};
  const NamedArray h = f.argument("h", {real, {{"batch", 2}, {"position", 3}, {"embed", 4}}});
  const NamedArray norm = f.argument("norm", {real, embed});
  const NamedArray head = f.argument("head", {real, {{"vocab", 5}, {"embed", 4}}});
  const Type token{DType::i32, {{"batch", 2}, {"position", 3}}};
  const NamedArray targets = f.argument("targets", token);
  const NamedArray scale = f.argument("scale", {real, token.axes});
  const NamedArray keys = f.argument("keys", {DType::u32, {{"batch", 2}, key_word()}});
  NamedArray x = gelu(layer_norm(h, norm, NamedArray(), 1e-5), Gelu::kErf);
  const NamedArray wide = split_axis(x, "embed", {{"kv_head", 2}, {"head_dim", 2}});
  AttentionOptions options;
  options.dropout_rate = 0.1;
  options.dropout_keys = fold_in(keys, 3);
  const NamedArray narrow = rename(wide, "position", "key_position");
  x = merge_axes(attention(wide, narrow, narrow, options), {{"kv_head", 2}, {"head_dim", 2}},
                 "embed");
  const NamedArray parts[] = {x, gather(head, "vocab", targets)};
  x = sum(split_axis(concat(parts, "embed"), "embed", {{"half", 2}, {"embed", 4}}), {{"half", 2}});
  const NamedArray loss = linear_xent(x, head, targets, scale).loss;
  const NamedArray wrt[] = {norm, head};
  const auto g = backprop(loss, wrt);
  f.result("loss", loss);
  f.result("norm", norm - g[0] * 0.1, 1);
  f.result("head", head - g[1] * 0.1, 2);
  return f;
}

}  // namespace

TEST_CASE("a compiled function knows its arguments, results and sizes", "[runtime]") {
  const auto backend = make_backend("reference");
  const Executable e = compile(optimise(step(DType::f32), *backend), *backend);
  CHECK(e.name() == "step");
  CHECK(e.arguments().size() == 6);
  CHECK(e.arguments()[3].name == "targets");
  REQUIRE(e.results().size() == 3);
  CHECK(e.results()[2].donated == 2);
  CHECK(to_string(e.type(e.results()[2])) == "f32 {vocab 5, embed 4}");
  CHECK(e.arena_bytes() >= e.arena_lower_bound());
  CHECK(e.constant_bytes() > 0);
  CHECK(e.step_count() > 20);
}

TEST_CASE("running allocates nothing", "[runtime]") {
  const auto backend = make_backend("reference");
  const Bound bound(compile(optimise(step(DType::f32), *backend), *backend), *backend);
  const int64_t before = allocations();
  bound.executable.run();
  CHECK(allocations() == before);
  const auto one = std::make_unique<int>(1);  // the counter counts
  CHECK(allocations() == before + 1);
}

TEST_CASE("no kind of node allocates when it runs", "[runtime]") {
  const auto backend = make_backend("reference");
  for (uint32_t seed = 0; seed < 20; ++seed) {
    INFO("seed " << seed);
    const Function f = optimise(random_function(seed, DType::f64).function, *backend);
    const Bound bound(compile(duplicate(f), *backend), *backend);
    const int64_t before = allocations();
    bound.executable.run();
    CHECK(allocations() == before);
  }
}

TEST_CASE("running again gives the same bits", "[runtime]") {
  const auto backend = make_backend("reference");
  const Build build = [](const auto& in) { return std::vector{softmax(in[0] * in[0], "embed")}; };
  const Array x = random_real(kX, 1);
  Executable e = compile(optimise(trace(build, {x}), *backend), *backend);
  std::vector<double> in = x.values, one(6), two(6), arena(100);
  std::byte* argument[] = {reinterpret_cast<std::byte*>(in.data())};
  for (std::vector<double>* out : {&one, &two}) {
    std::byte* result[] = {reinterpret_cast<std::byte*>(out->data())};
    REQUIRE(e.arena_bytes() <= 800);
    e.bind(reinterpret_cast<std::byte*>(arena.data()), nullptr, argument, result);
    e.run();
  }
  CHECK(one == two);
  CHECK(one == evaluate(build, {x})[0].values);
}

TEST_CASE("an observer sees every step in order, with its place", "[runtime]") {
  const auto backend = make_backend("reference");
  const Build build = [](const auto& in) {
    return std::vector{sum(exp(in[0]), {{"embed", 3}}), dot(in[0], in[0], {})};
  };
  const Bound bound(compile(trace(build, {random_real(kX, 1)}), *backend), *backend);
  Counting observer;
  bound.executable.run(&observer);
  REQUIRE(observer.seen.size() == 3);
  CHECK_THAT(observer.seen[0], Catch::StartsWith("map at tests/runtime/executable_test.cpp:"));
  CHECK_THAT(observer.seen[1], Catch::StartsWith("reduce at "));
  CHECK_THAT(observer.seen[2], Catch::StartsWith("dot at "));
}

TEST_CASE("a listener hears of a result once nothing changes it any more", "[runtime]") {
  class Copies final : public ResultListener {
   public:
    explicit Copies(const Bound& bound) : bound_(bound) {}
    void ready(size_t result) override {
      CHECK(values.emplace(result, bytes_of(result)).second);
      order.push_back(result);
    }
    std::string bytes_of(size_t result) const {
      const Result& r = bound_.executable.results()[result];
      const size_t count = bound_.executable.arguments().size();
      const Buffer& there =
          *bound_.memory[r.donated < 0 ? count + result : static_cast<size_t>(r.donated)];
      return {reinterpret_cast<const char*>(there.data()),
              static_cast<size_t>(bound_.executable.type(r).bytes())};
    }
    std::map<size_t, std::string> values;
    std::vector<size_t> order;

   private:
    const Bound& bound_;
  };
  for (const char* device : {"cpu", "reference"})
    for (const bool watched : {false, true}) {
      const auto backend = make_backend(device);
      const Bound bound(compile(optimise(step(DType::f32), *backend), *backend), *backend);
      Copies copies(bound);
      Counting observer;
      bound.executable.run(watched ? &observer : nullptr, &copies);
      REQUIRE(copies.order.size() == bound.executable.results().size());
      for (size_t i = 0; i < copies.order.size(); ++i)
        CHECK(copies.values.at(i) == copies.bytes_of(i));
    }
}

TEST_CASE("arithmetic is counted by op", "[runtime]") {
  const auto backend = make_backend("reference");
  const Build build = [](const auto& in) {
    return std::vector{dot(in[0], in[0], {}), exp(in[0]) + in[0]};
  };
  const Executable e = compile(trace(build, {random_real(kX, 1)}), *backend);
  std::map<std::string, double> flops;
  for (const auto& [op, count] : e.flops_by_op()) flops[op] = count;
  CHECK(flops == std::map<std::string, double>{{"dot", 12}, {"map", 12}});
}

TEST_CASE("the fullest moment names its buffers, largest first", "[runtime]") {
  const auto backend = make_backend("reference");
  const Build build = [](const auto& in) {
    const NamedArray wide = dot(in[0], in[0], {{"batch", 2}, {"embed", 3}});
    const NamedArray wider = broadcast(wide, {{"mlp", 50}, {"batch", 2}, {"embed", 3}}) + in[1];
    return std::vector{dot(wider, wide, {{"mlp", 50}}), sum(wider, {{"mlp", 50}})};
  };
  const Executable e =
      compile(trace(build, {random_real(kX, 1), random_real({{"mlp", 50}}, 2)}), *backend);
  const auto peak = e.peak();
  REQUIRE(peak.size() == 2);
  CHECK(peak[0].bytes == 50 * 6 * 8);
  CHECK(peak[0].op == "map");
  CHECK(peak[1].op == "dot");
  CHECK_FALSE(peak[0].saved_for_backward);
  CHECK_THAT(peak[0].where, Catch::Contains("tests/runtime/executable_test.cpp:"));
  CHECK_THAT(e.peak_place(), Catch::Contains(" of tests/runtime/executable_test.cpp:"));
}

TEST_CASE("what the forward pass saves for the backward pass is marked", "[runtime]") {
  const auto backend = make_backend("reference");
  const Build build = [](const auto& in) {
    const NamedArray y = tanh(dot(in[0], in[1], {{"batch", 2}, {"mlp", 50}}));
    const NamedArray wrt[] = {in[1]};
    return backprop(sum(sigmoid(y), y.axes()), wrt);
  };
  const Executable e = compile(
      optimise(trace(build, {random_real(kX, 1), random_real({{"embed", 3}, {"mlp", 50}}, 2)}),
               *backend),
      *backend);
  bool saved = false;
  for (const LiveBuffer& buffer : e.peak()) saved = saved || buffer.saved_for_backward;
  CHECK(saved);
}

TEST_CASE("running without memory and binding too little are our own bugs", "[runtime]") {
  const auto backend = make_backend("reference");
  const Build build = [](const auto& in) { return std::vector{exp(in[0])}; };
  Executable e = compile(trace(build, {random_real(kX, 1)}), *backend);
  CHECK_THAT(error_of([&] { e.run(); }), Catch::Contains("test has no memory yet"));
  CHECK_THAT(error_of([&] { e.bind(nullptr, nullptr, {}, {}); }),
             Catch::Contains("test: wrong arguments"));
  std::byte* argument[] = {nullptr};
  CHECK_THAT(error_of([&] { e.bind(nullptr, nullptr, argument, {}); }),
             Catch::Contains("test: wrong results"));
}
