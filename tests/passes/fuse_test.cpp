// Which nodes become one, and that no bit depends on it.
#include <algorithm>
#include <span>

#include "kernels/cpu/cache.h"
#include "ops/composite/fused.h"
#include "passes/passes.h"
#include "runtime/executable.h"
#include "models/model.h"
#include "support/checks.h"
#include "support/evaluate.h"
#include "support/forwarding_backend.h"
#include "support/golden.h"
#include "support/random_function.h"
#include "support/training.h"
#include "train/engine/step.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr uint32_t kSeeds = 200;

Function fused_on_cpu(const Build& build, const std::vector<Array>& inputs) {
  return fuse(canonicalise(trace(build, inputs, DType::f32)), *make_backend("cpu"));
}

const Axes kRows = {{"a", 3}, {"b", 7}, {"embed", 5}};
const Axes kEmbed = {{"embed", 5}};

/// Has a kernel for every region, and wants no products in one.
class WithoutProducts final : public ForwardingBackend {
 public:
  bool supports(const Node& node, std::span<const Type> inputs) const override {
    return node.body || ForwardingBackend::supports(node, inputs);
  }
  bool joins(const Node& node) const override { return node.op->name != std::string("dot"); }
};

}  // namespace

TEST_CASE("a chain over one space becomes one node", "[passes]") {
  const Function f = fused_on_cpu(
      [](const auto& in) {
        const NamedArray x = in[0] + gelu(in[1] + in[2], Gelu::kTanh);
        return std::vector{x, layer_norm(x, in[2], in[2], 1e-5)};
      },
      {random_real(kRows, 1), random_real(kRows, 2), random_real(kEmbed, 3)});
  CHECK(f.graph.nodes().size() == 4);
  CHECK(count_nodes(f, "fused") == 1);
}

TEST_CASE("every opcode may be one of a region, and has the bits there that it has alone",
          "[passes]") {
  const auto cpu = make_backend("cpu");
  const std::vector<Array> inputs = {positive(kRows, 1), positive(kEmbed, 2), positive(kRows, 3)};
  for (size_t code = 0; code < kMapOpcodes; ++code) {
    const auto opcode = static_cast<Map>(code);
    INFO(name_of(opcode));
    const Function f = trace(
        [opcode](const auto& in) {
          NamedArray y;
          if (arity(opcode) == 1) y = map(opcode, in[0]);
          if (arity(opcode) == 2) y = map(opcode, in[0], in[1]);
          if (arity(opcode) == 3) y = select(in[0], in[1], in[2]);
          return std::vector{y + in[2]};
        },
        inputs, DType::f32);
    const Function whole = optimise(f, *cpu);
    CHECK(count_nodes(whole, "fused") == 1);
    CHECK(same_bits(run(duplicate(whole), inputs, *cpu),
                    run(optimise(f, *cpu, {.fuse = false}), inputs, *cpu)));
  }
}

TEST_CASE("a path that leaves a region and returns keeps it apart", "[passes]") {
  const Function f = fused_on_cpu(
      [](const auto& in) {
        const NamedArray x = exp(in[0]);
        return std::vector{x / sum(x, {{"embed", 5}})};
      },
      {random_real(kRows, 1)});
  CHECK(count_nodes(f, "fused") == 0);
}

TEST_CASE("a backend without the kernel gets no fused nodes", "[passes]") {
  const std::vector<Array> inputs = {random_real(kRows, 1)};
  const Function f =
      trace([](const auto& in) { return std::vector{exp(in[0]) + 1.0}; }, inputs, DType::f32);
  CHECK(count_nodes(fuse(f, *make_backend("reference")), "fused") == 0);
  CHECK(count_nodes(fuse(f, *make_backend("cpu")), "fused") == 1);
}

TEST_CASE("what a backend keeps out of regions stays alone, and the rest joins", "[passes]") {
  const Axes wide = {{"a", 3}, {"b", 7}, {"mlp", 4}};
  const Build build = [&](const auto& in) {
    return std::vector{exp(dot(in[0], in[1], wide) + 1.0)};
  };
  const std::vector<Array> inputs = {random_real(kRows, 1),
                                     random_real({{"embed", 5}, {"mlp", 4}}, 2)};
  const Function f = trace(build, inputs, DType::f32);
  CHECK(count_nodes(fuse(f, *make_backend("cpu")), "dot") == 0);
  const Function apart = fuse(f, WithoutProducts());
  CHECK(count_nodes(apart, "dot") == 1);
  CHECK(count_nodes(apart, "fused") == 1);
}

TEST_CASE(
    "the gradient of a frozen norm has no sums: it joins the product before it, with its bits",
    "[passes]") {
  const Axes wide = {{"a", 3}, {"b", 7}, {"mlp", 4}};
  const auto gradients = [&](size_t count) {
    return [=](const auto& in) {
      const NamedArray y = dot(layer_norm(in[0], in[1], in[2], 1e-5), in[3], wide);
      return backprop(sum(y * y, wide), std::span(in).first(count));
    };
  };
  const std::vector<Array> inputs = {random_real(kRows, 1), positive(kEmbed, 2),
                                     random_real(kEmbed, 3),
                                     random_real({{"embed", 5}, {"mlp", 4}}, 4)};
  const auto cpu = make_backend("cpu");
  const auto traced = [&](size_t count) { return trace(gradients(count), inputs, DType::f32); };
  const Function frozen = optimise(traced(1), *cpu);
  CHECK(std::ranges::any_of(frozen.graph.nodes(), [](const Node& node) {
    return node.body && members_of(node) == "dot+layer_norm_grad";
  }));
  const std::vector<Array> expected = {run(optimise(traced(3), *cpu), inputs, *cpu)[0]};
  CHECK(same_bits(run(duplicate(frozen), inputs, *cpu), expected));
  CHECK(same_bits(run(optimise(traced(1), *cpu, {.fuse = false}), inputs, *cpu), expected));
}

TEST_CASE("the regions of a block of GPT-2", "[passes]") {
  Gpt2Config model = tiny_model_with_dropout();
  model.num_layers = 1;
  const train::ModelSpec spec{models::entry("gpt2"), model};
  const train::StepShape shape{2, model.max_seq_len, kVocab};
  const auto objective = models::objectives::make("lm");
  const Function f = train::trace_gradients(spec, shape, *objective, train::Accumulate::kFirst);
  const std::string text = optimise(f, *make_backend("cpu")).graph.print();
  CHECK(text == expected_text(golden_path("fused/gpt2_block.txt"), text));
}

TEST_CASE("every block of a deep model has the regions of any other", "[passes]") {
  const auto cpu = make_backend("cpu");
  const auto regions = [&](int64_t layers) {
    Gpt2Config model = tiny_model();
    model.num_layers = layers;
    const Function f = optimise(
        train::trace_gradients({models::entry("gpt2"), model}, {2, model.max_seq_len, kVocab},
                               *models::objectives::make("lm"), train::Accumulate::kFirst),
        *cpu);
    return static_cast<int64_t>(count_nodes(f, "fused"));
  };
  const int64_t three = regions(3), a_block = regions(4) - three;
  CHECK(a_block > 0);
  CHECK(regions(200) == three + 197 * a_block);
}

TEST_CASE("fused and node by node agree in every bit", "[passes]") {
  const auto one = make_backend("cpu", 1), three = make_backend("cpu", 3);
  size_t fused = 0;
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    INFO("seed " << seed);
    const RandomFunction random = random_rows(seed);
    const Function whole = optimise(random.function, *one);
    fused += count_nodes(whole, "fused");
    const auto expected =
        run_eagerly(decompose(duplicate(random.function), *one), random.inputs, *one);
    CHECK(same_bits(run(duplicate(whole), random.inputs, *one), expected));
    CHECK(same_bits(run(duplicate(whole), random.inputs, *three), expected));
    CHECK(same_bits(run(optimise(random.function, *one, {.fuse = false}), random.inputs, *one),
                    expected));
  }
  CHECK(fused > kSeeds);
}

TEST_CASE("results larger than the caches have the bits that they have node by node", "[passes]") {
  constexpr double kF32Tolerance = 1e-6, kBf16Tolerance = 1e-2;  // two roundings to 8 bits
  const auto one = make_backend("cpu", 1), two = make_backend("cpu", 2),
             reference = make_backend("reference");
  const Axes x_axes = {{"batch", 3}, {"pos", 350}, {"in", 24}};
  for (const int64_t width : {1031, 1056}) {  // rows begin anywhere in a line, or with one
    const Axes embed = {{"embed", width}};
    const Axes space = {x_axes[0], x_axes[1], embed[0]};
    REQUIRE(space.elements() * 2 >= cpu::kStreamedBytes);
    const std::vector<Array> inputs = {random_real(space, 1), random_real(embed, 2),
                                       random_real(x_axes, 3),
                                       random_real({x_axes[2], embed[0]}, 4)};
    for (const DType dtype : {DType::f32, DType::bf16}) {
      INFO(name_of(dtype) << ", rows of " << width);
      const Function f = trace(
          [&](const auto& given) {
            std::vector<NamedArray> a;
            for (const NamedArray& array : given) a.push_back(cast(array, dtype));
            const NamedArray h = gelu(a[0] + a[1], Gelu::kTanh);
            const NamedArray p = rounded_dot(a[2], a[3], space, a[1]);
            const NamedArray bare = dot(a[2], a[3], space);
            return std::vector{h, h * a[0], p, p + a[0], bare, gelu(bare, Gelu::kTanh)};
          },
          inputs, DType::f32);
      const auto apart = run(optimise(f, *one, {.fuse = false}), inputs, *one);
      const Function whole = optimise(f, *one);
      CHECK(count_nodes(whole, "fused") > 0);
      CHECK(same_bits(run(duplicate(whole), inputs, *one), apart));
      CHECK(same_bits(run(duplicate(whole), inputs, *two), apart));
      const auto expected = run(optimise(f, *reference), inputs, *reference);
      for (size_t i = 0; i < expected.size(); ++i)
        CHECK(difference(apart[i], expected[i]) <
              (dtype == DType::f32 ? kF32Tolerance : kBf16Tolerance));
    }
  }
}
