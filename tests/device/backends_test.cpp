// What every device that trainer.device can name must do: have a kernel for every op, or for those
// that it decomposes into, and train.
#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "device/backends.h"
#include "ops/ops.h"
#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/devices.h"
#include "support/evaluate.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;

namespace levanter::ops {
std::span<const Op* const> entries();
}

namespace {

using Names = std::set<std::string>;

const Axis kBatch{"batch", 2}, kPosition{"position", 3}, kEmbed{"embed", 8}, kVocab{"vocab", 5};
const Axes kRow = {kBatch, kPosition, kEmbed};

/// Every op of the tree, forward and, where it has a gradient, backward.
class EveryOp {
 public:
  /// `compute`: of activations, f32 or bf16. Parameters and losses are f32.
  explicit EveryOp(DType compute)
      : f("every op", Graph(DType::f32, compute)),
        x(f.argument("x", {compute, kRow})),
        weight(f.argument("weight", {DType::f32, {kVocab, kEmbed}})),
        norm(f.argument("norm", {DType::f32, {kEmbed}})),
        ids(f.argument("ids", {DType::i32, {kBatch, kPosition}})),
        keys(f.argument("keys", {DType::u32, {kBatch, key_word()}})),
        int8(f.argument("int8", {DType::i8, {kVocab, kEmbed}})) {
    add_layers();
    add_products();
    add_shapes();
    add_indices();
    add_gradients();
    add_update();
  }

  Function f;

 private:
  void add(NamedArray value) {
    f.result(cat("result ", f.results.size()), value);
    if (value.dtype() != DType::f32 && value.dtype() != DType::bf16) return;
    const NamedArray wide = cast(value, DType::f32);
    const NamedArray part = wide.axes().empty() ? wide : sum(wide * wide, wide.axes());
    loss_ = loss_ ? loss_ + part : part;
  }

  void add_layers() {
    const NamedArray normed = layer_norm(x, norm, norm, 1e-5);
    add(softmax(dropout(gelu(normed, Gelu::kTanh), fold_in(keys, 7), 0.5), "embed"));
    const Axes heads = {{"kv_head", 2}, {"head_dim", 4}};
    const NamedArray q = split_axis(normed, "embed", heads);
    const NamedArray k = rename(q, "position", "key_position");
    AttentionOptions options;
    options.segment_ids = ids;
    add(merge_axes(attention(q, k, k, options), heads, "embed"));
    const AttentionStatistics statistics = attention_statistics(q, k, options);
    f.result("entropy", statistics.entropy);
    f.result("largest score", statistics.largest);
  }
  void add_products() {
    const NamedArray packed = pack(weight);
    const NamedArray logits = dot(x, packed, {kBatch, kPosition, kVocab});
    const NamedArray factor = cast(logits, f.graph.compute());
    add(dot_add(cast(x, DType::f32), factor, packed));
    const NamedArray experts[] = {packed, packed * 2.0};
    add(grouped_dot(x, ids, experts));
    add(quantized_dot(x, int8, norm));
    const NamedArray scale = broadcast(constant(f.graph, 0.5, DType::f32), {kBatch, kPosition});
    add(linear_xent(x, packed, ids, scale).loss);
    f.result("rounded product", rounded_dot(x, packed, {kBatch, kPosition, kVocab}));
    f.result("sum of squares", sum_squares(weight, "vocab"));
    f.result("orthonormal", qr(weight, "embed", "vocab"));
    const NamedArray square = dot(weight, rename(weight, "vocab", "other"), {kVocab, {"other", 5}});
    f.result("eigenvectors", eigh(square, "vocab", "other").vectors);
  }
  void add_shapes() {
    const int64_t halves[] = {4, 4};
    const std::vector<NamedArray> parts = partition(x, "embed", halves);
    const NamedArray exchanged[] = {parts[1], parts[0]};
    add(concat(exchanged, "embed"));
    add(copy(transpose(x, {kEmbed, kPosition, kBatch})));
    add(copy(stop_gradient(x)));
    add(broadcast(norm, kRow) + cast(iota(f.graph, kPosition, DType::i32), DType::f32));
    const NamedArray held[] = {x, norm};
    for (const NamedArray& whole : all_gather(held)) f.result("gathered", whole);
    add(literal(f.graph, "vocab", {1, 2, 3, 4, 5}, DType::f32));
  }
  void add_indices() {
    add(gather(weight, "vocab", ids));
    add(top_k(cast(x, DType::f32), "embed", {"choice", 2}));
    f.result("scattered", scatter(weight, gather(weight, "vocab", ids), "vocab", ids));
    add(uniform(random_bits(keys, {kBatch, kPosition}), DType::f32));
    add(reduce(Reduce::kMax, x, {kEmbed}));
  }
  void add_gradients() {
    const NamedArray wrt[] = {x, weight, norm};
    for (const NamedArray& gradient : backprop(loss_, wrt))
      f.result(cat("gradient ", f.results.size()), gradient);
  }
  void add_update() {
    const NamedArray one = constant(f.graph, 1, DType::f32);
    const AdamwState state = adamw(weight, weight, weight, weight, {one, one, one, one, one}, {});
    f.result("updated", state.param);
  }

  NamedArray x, weight, norm, ids, keys, int8, loss_;
};

void add_names(const Graph& graph, Names& names) {
  for (const Node& node : graph.nodes()) {
    names.insert(node.op->name);
    if (node.body) add_names(node.body->graph, names);
  }
}

/// The ops of which a step runs as a plain loop of the reference backend.
Names borrowed(const Executable& executable) {
  Names names;
  for (const auto& [node, cost] : executable.step_costs())
    if (cost.by_reference) names.insert(node->op->name);
  return names;
}

double final_loss(const TinyRun& run, const std::string& device) {
  const TrainConfig config =
      run.config(device, cat("num_train_steps = 6\ndevice = ", quote(device), "\n"));
  REQUIRE(train::train(config, {.make_backend = make_device}) == train::Outcome::kFinished);
  return nlohmann::json::parse(
      read_file(run.folder / cat("runs/", device, "/summary.json")))["eval/loss"];
}

/// Six steps of f32 in another order of sums.
constexpr double kLossTolerance = 1e-4;

}  // namespace

TEST_CASE("the function of every op has every op of the tree", "[device]") {
  Names used, known;
  add_names(EveryOp(DType::f32).f.graph, used);
  add_names(EveryOp(DType::bf16).f.graph, used);
  add_names(optimise(EveryOp(DType::f32).f, *make_backend("cpu")).graph, used);
  for (const Op* op : ops::entries()) known.insert(op->name);
  for (const std::string& name : known) {
    INFO(name);
    CHECK(used.contains(name));
  }
}

TEST_CASE("every device has a kernel for every op, or for what the op decomposes into",
          "[device]") {
  for_each_device([](const std::string& name, const Backend& backend) {
    CHECK(backend.name() == name);
    CHECK_FALSE(backend.device_name().empty());
    CHECK_FALSE(backend.numerics_signature().empty());
    for (const DType compute : {DType::f32, DType::bf16}) {
      INFO(name << " in " << name_of(compute));
      const Function plain = decompose(EveryOp(compute).f, backend);
      for (const Node& node : plain.graph.nodes())
        CHECK((node.op->view || backend.supports(node, plain.graph.input_types(node))));
      CHECK(compile(optimise(plain, backend), backend).step_count() > 0);
    }
  });
}

TEST_CASE("the cpu backend borrows the reference's kernels for these ops and no others",
          "[device]") {
  const auto cpu = make_backend("cpu");
  const auto borrows = [](const Backend& backend) {
    return borrowed(compile(decompose(EveryOp(DType::f32).f, backend), backend));
  };
  // A cast of integers; bf16 has a kernel.
  const Names known = {"cast",        "fold_in", "iota",  "literal", "merge_axes",
                       "random_bits", "scatter", "top_k", "uniform"};
  CHECK(borrows(*cpu) == known);
  CHECK(borrows(*make_backend("reference")).size() > known.size());
}

TEST_CASE("a small model trains on every device as on the reference", "[device]") {
  const TinyRun run;
  const double expected = final_loss(run, "reference");
  for_each_device([&](const std::string& name, const Backend&) {
    if (name == "reference") return;
    INFO(name);
    CHECK(std::abs(final_loss(run, name) - expected) <= kLossTolerance);
  });
}
