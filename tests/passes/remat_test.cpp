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
                 const Region& region) {
  Graph& graph = x.graph();
  Origin origin;
  origin.region = graph.add_region(region);
  const OriginScope scope(graph, origin, false);
  const NamedArray normed = checkpoint_name(layer_norm(x, norm, NamedArray(), 1e-5), "normed");
  const NamedArray h = dot(normed, up, {kBatch, kMlp});
  const NamedArray act = checkpoint_name(gelu(h, Gelu::kTanh), "act");
  const NamedArray kept = dropout(act, keys, 0.25);
  return x + dot(kept, down, {kBatch, kEmbed});
}

std::vector<Array> operands() {
  return {random_real({kBatch, kEmbed}, 1), positive({kEmbed}, 2), random_real({kEmbed, kMlp}, 3),
          random_real({kMlp, kEmbed}, 4), random_keys({kBatch}, 5)};
}

/// Loss and gradients of blocks that share their parameters, by default three. Above 0, `group`
/// blocks at a time make a group.
Function model(Remat policy, std::vector<std::string> saved = {}, uint32_t blocks = 3,
               uint32_t group = 0) {
  const Build build = [&](const auto& in) {
    NamedArray x = in[0];
    for (uint32_t i = 0; i < blocks; ++i)
      x = block(x, in[1], in[2], in[3], in[4], {"block", policy, saved, group ? i / group + 1 : 0});
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

TEST_CASE("saving by name and nested groups give the same bits", "[passes]") {
  for (const char* device : {"reference", "cpu"}) {
    const auto backend = make_backend(device);
    const auto bits = [&](const Function& f) {
      return run(optimise(f, *backend), operands(), *backend);
    };
    const auto kept = bits(model(Remat::kNone, {}, 5));
    CHECK(same_bits(bits(model(Remat::kNames, {"act"}, 5)), kept));
    CHECK(same_bits(bits(model(Remat::kNames, {"act", "normed"}, 5)), kept));
    for (const uint32_t group : {1, 2, 3, 5})
      CHECK(same_bits(bits(model(Remat::kFull, {}, 5, group)), kept));
  }
}

TEST_CASE("a value that carries a saved name is not computed again, its siblings are", "[passes]") {
  const Function by_name = remat(canonicalise(model(Remat::kNames, {"act"})));
  CHECK(recomputed(by_name, "gelu") == 0);
  CHECK(recomputed(by_name, "layer_norm") == 3);
  CHECK(recomputed(by_name, "dropout") == 3);
  CHECK(recomputed(by_name, "dot") == 3);  // the gradient of gelu reads its input
  const Function other = remat(canonicalise(model(Remat::kNames, {"nobody"})));
  const Function full = remat(canonicalise(model(Remat::kFull)));
  CHECK(recomputed(other) == recomputed(full));
}

TEST_CASE("a group of one block is the policy full", "[passes]") {
  const Function one = remat(canonicalise(model(Remat::kFull, {}, 3, 1)));
  CHECK(recomputed(one) == recomputed(remat(canonicalise(model(Remat::kFull)))));
}

TEST_CASE("a group computes the inputs of its blocks once, then each block", "[passes]") {
  // Of two blocks the first runs again to give the second its input, then once more for itself;
  // five blocks are two such groups and one alone.
  const Function nested = remat(canonicalise(model(Remat::kFull, {}, 5, 2)));
  CHECK(recomputed(nested, "gelu") == 5 + 2);
  // Both products of a block, to leave it; the first is added to an argument.
  CHECK(recomputed(nested, "dot") + recomputed(nested, "dot_add") == 5 + 2 * 2);
  // What the forward pass makes and the backward pass reads: nothing from inside a group.
  for (const Node& node : nested.graph.nodes()) {
    if (node.origin.phase != Phase::kBackward || node.origin.region == 0) continue;
    for (const Value& input : node.inputs) {
      const Node& source = nested.graph.node(input.node);
      if (source.origin.phase != Phase::kForward || source.inputs.empty()) continue;
      const uint32_t group = nested.graph.region(node.origin.region).group;
      CHECK(nested.graph.region(source.origin.region).group != group);
    }
  }
}

TEST_CASE("groups of blocks take less memory than full", "[passes]") {
  const auto backend = make_backend("reference");
  const auto bytes = [&](uint32_t group) {
    return compile(optimise(model(Remat::kFull, {}, 64, group), *backend), *backend).arena_bytes();
  };
  const int64_t full = bytes(0);
  CHECK(bytes(1) == full);
  CHECK(bytes(4) < full);
  CHECK(bytes(8) < bytes(4));
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
    return std::vector{block(in[0], in[1], in[2], in[3], in[4], {"block", Remat::kFull})};
  };
  const Function f = trace(build, operands(), DType::f32);
  CHECK(remat(f).graph.print() == f.graph.print());
}
