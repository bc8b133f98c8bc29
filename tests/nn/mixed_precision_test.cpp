// Where values are rounded under mixed precision: the graph of a small block, forward and backward.
#include "nn/layers.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/golden.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axis kBatch{"batch", 2}, kEmbed{"embed", 4}, kMlp{"mlp", 6};

/// Two layers after a norm, with a residual; the loss is the sum of all, and the results the
/// gradients of the parameters.
Function block(DType compute) {
  Function f("block", Graph(DType::f32, compute));
  std::vector<nn::Param> params;
  const nn::Scope root(f, params);
  const nn::LayerNorm norm(root / "norm", kEmbed, 1e-5, true);
  const nn::Linear up(root / "up", {kEmbed}, {kMlp}, {true, nn::Init::normal(1)});
  const nn::Linear down(root / "down", {kMlp}, {kEmbed}, {false, nn::Init::normal(1)});
  const NamedArray x = f.argument("x", {compute, {kBatch, kEmbed}});
  const NamedArray y = x + down(gelu(up(norm(x), {}), Gelu::kTanh), {});
  std::vector<NamedArray> wrt;
  for (const nn::Param& param : params) wrt.push_back(param.value);
  const auto gradients = backprop(sum(y, y.axes()), wrt);
  for (size_t i = 0; i < gradients.size(); ++i) f.result(params[i].path, gradients[i]);
  return f;
}

}  // namespace

TEST_CASE("a block is rounded after each layer and its parameters' gradients nowhere", "[nn]") {
  const Function f = canonicalise(hoist_packs(block(DType::bf16)));
  const std::string path = golden_path("graph/block_bf16.txt"), text = f.graph.print();
  CHECK(text == expected_text(path, text));
  for (const Result& result : f.results) CHECK(f.graph.type(result.value).dtype == DType::f32);
}

TEST_CASE("a packed bias is widened inside the region that adds it", "[nn]") {
  const Function f = optimise(hoist_packs(block(DType::bf16)), *make_backend("cpu"));
  CHECK(count_nodes(f, "fused") > 0);
  for (const Node& node : f.graph.nodes())
    CHECK((node.op->name != std::string("cast") || node.outputs[0].dtype == DType::bf16));
}

TEST_CASE("a block in f32 has no cast and no pack", "[nn]") {
  const Function f = block(DType::f32);
  CHECK(count_nodes(f, "cast") == 0);
  CHECK(count_nodes(f, "pack") == 0);
}
