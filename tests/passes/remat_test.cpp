#include "device/backend.h"
#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axis kBatch{"batch", 4}, kEmbed{"embed", 8}, kMlp{"mlp", 64};

/// A block with a norm, a wide layer, dropout and a residual; everything in one region.
NamedArray block(NamedArray x, NamedArray norm, NamedArray up, NamedArray down, NamedArray keys,
                 Remat policy) {
  Graph& graph = x.graph();
  Origin origin;
  origin.region = graph.add_region({"block", policy});
  const OriginScope scope(graph, origin, false);
  const NamedArray h = dot(layer_norm(x, norm, NamedArray(), 1e-5), up, {kBatch, kMlp});
  const NamedArray kept = dropout(gelu(h, Gelu::kTanh), keys, 0.25);
  return x + dot(kept, down, {kBatch, kEmbed});
}

std::vector<Array> operands() {
  return {random_real({kBatch, kEmbed}, 1), positive({kEmbed}, 2), random_real({kEmbed, kMlp}, 3),
          random_real({kMlp, kEmbed}, 4), random_keys({kBatch}, 5)};
}

/// Loss and gradients of three blocks that share their parameters.
Function model(Remat policy) {
  const Build build = [&](const auto& in) {
    NamedArray x = in[0];
    for (int i = 0; i < 3; ++i) x = block(x, in[1], in[2], in[3], in[4], policy);
    const NamedArray loss = sum(x * x, x.axes());
    const NamedArray wrt[] = {in[0], in[1], in[2], in[3]};
    auto results = backprop(loss, wrt);
    results.push_back(loss);
    return results;
  };
  return trace(build, operands(), DType::f32);
}

/// Copies that the backward pass makes, of one op or of any.
size_t recomputed(const Function& f, const std::string& op = "") {
  size_t count = 0;
  for (const Node& node : f.graph.nodes())
    count += node.origin.generation > 0 && (op.empty() || node.op->name == op);
  return count;
}

}  // namespace

TEST_CASE("every policy gives the same bits", "[passes]") {
  const auto backend = make_backend("reference");
  const auto bits = [&](Remat policy) {
    return run(optimise(model(policy), *backend), operands(), *backend);
  };
  const auto kept = bits(Remat::kNone);
  CHECK(same_bits(bits(Remat::kSaveDots), kept));
  CHECK(same_bits(bits(Remat::kFull), kept));
}

TEST_CASE("each policy computes again what it does not keep", "[passes]") {
  const Function none = remat(canonicalise(model(Remat::kNone))),
                 dots = remat(canonicalise(model(Remat::kSaveDots))),
                 full = remat(canonicalise(model(Remat::kFull)));
  CHECK(recomputed(none) == 0);
  CHECK(recomputed(dots, "gelu") == 3);
  CHECK(recomputed(dots, "dropout") == 3);
  CHECK(recomputed(dots, "layer_norm") == 3);
  CHECK(recomputed(dots, "dot") == 0);
  CHECK(recomputed(full, "dot") == 3);  // the wide one; nothing reads the other again
  CHECK(recomputed(full, "gelu") == 3);
}

TEST_CASE("copies belong to the backward pass and read the saved inputs of their region",
          "[passes]") {
  const Function f = remat(canonicalise(model(Remat::kFull)));
  for (const Node& node : f.graph.nodes()) {
    if (node.origin.generation == 0) continue;
    CHECK(node.origin.phase == Phase::kBackward);
    for (const Value& input : node.inputs) {
      const Node& source = f.graph.node(input.node);
      const bool outside = source.origin.region != node.origin.region || source.inputs.empty();
      CHECK((outside || source.origin.generation == 1));
    }
  }
}

TEST_CASE("the less is kept the smaller is the arena", "[passes]") {
  const auto backend = make_backend("reference");
  const auto bytes = [&](Remat policy) {
    return compile(optimise(model(policy), *backend), *backend).arena_bytes();
  };
  const int64_t none = bytes(Remat::kNone), dots = bytes(Remat::kSaveDots),
                full = bytes(Remat::kFull);
  CHECK(dots < none);
  CHECK(full < dots);
}

TEST_CASE("a function without a backward pass is left alone", "[passes]") {
  const Build build = [](const auto& in) {
    return std::vector{block(in[0], in[1], in[2], in[3], in[4], Remat::kFull)};
  };
  const Function f = trace(build, operands(), DType::f32);
  CHECK(remat(f).graph.print() == f.graph.print());
}
