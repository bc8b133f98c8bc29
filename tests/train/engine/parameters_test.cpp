// Parameters that are not trained, and optimizers whose state is not shaped as the parameters are.
#include <catch2/catch.hpp>

#include <cstring>

#include "checkpoint/load.h"
#include "nn/layers.h"
#include "support/lone_end.h"
#include "support/temporary_folder.h"
#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr int64_t kWidth = 16;

/// An embedding, a linear layer and a head of its own; the embedding may be frozen.
class Bigrams final : public models::LanguageModel {
 public:
  Bigrams(const nn::Scope& root, int64_t vocab, bool freeze)
      : embed_((freeze ? root.frozen() : root) / "embed", {"vocab", vocab}, {"embed", kWidth},
               nn::Init::normal(0.3)),
        mix_(root.in_group("mixing") / "mix", {{"embed", kWidth}}, {{"mixed", kWidth}},
             {.init = nn::Init::normal(0.3)}),
        head_((root / "head")
                  .param("weight", {{"vocab", vocab}, {"embed", kWidth}}, {vocab, kWidth},
                         nn::Init::normal(0.3), nn::Role::kWeight)) {}

  NamedArray hidden(const models::LmBatch& batch) const override {
    const NamedArray x = embed_(batch.tokens);
    return x + rename(mix_(x, {}), "mixed", "embed");
  }
  NamedArray head() const override { return head_; }

 private:
  nn::Embedding embed_;
  nn::Linear mix_;
  NamedArray head_;
};

template <bool kFreeze>
std::unique_ptr<models::LanguageModel> build(const nn::Scope& root, const ModelConfig&,
                                             int64_t vocab) {
  return std::make_unique<Bigrams>(root, vocab, kFreeze);
}

models::ModelEntry family(bool freeze) {
  models::ModelEntry entry = models::entry("gpt2");
  entry.build = freeze ? build<true> : build<false>;
  return entry;
}

/// Gradients over the root of the running sum of their squares, a sum for each index of a
/// parameter's first axis; and how many updates a parameter has had.
struct RowsConfig final : OptimizerConfig {
  RowsConfig() { weight_decay = 0; }

 private:
  void own_fields(config::Fields&) override {}
};

std::vector<optim::StateArray> rows_state(const OptimizerConfig&, const nn::Param& param) {
  const Axis& first = param.type.axes[0];
  return {{"row", {param.type.dtype, {first}}, {first.size}},
          {"updates", {param.type.dtype, {}}, {}}};
}

optim::After rows_update(const OptimizerConfig& config, const nn::Param&,
                         const optim::Before& before, const optim::Step& step) {
  const NamedArray g = before.grad * step.clip, squares = g * g;
  const Axes others = without(g.axes(), g.axes()[0].name);
  const NamedArray row = before.state[0] + (others.empty() ? squares : sum(squares, others));
  return optim::descend(config, before, step, g * rsqrt(row + 1e-8), {row, before.state[1] + 1.0});
}

const optim::OptimizerEntry kRows = {
    .name = "rows",
    .summary = "for this test",
    .make_config = nullptr,
    .state = rows_state,
    .scalar_names = {},
    .scalars = [](const OptimizerConfig&, int64_t, std::span<double>) {},
    .update = rows_update};

/// An engine on one rank, of two microbatches a step.
struct Run {
  Run(bool freeze, const optim::OptimizerEntry& optimizer, const OptimizerConfig& optimizer_config)
      : entry(family(freeze)),
        engine(train::CompiledStep(
                   {.model = {entry, config},
                    .shape = {2, config.max_seq_len, kVocab},
                    .optimizer = std::make_shared<optim::Assignment>(optimizer, optimizer_config),
                    .microbatches = 2,
                    .groups = 2},
                   *backend),
               *backend),
        exchange(end, *backend, engine) {
    engine.initialise(key_from_seed(1));
  }
  train::UpdateReport step(int64_t index) { return run_step(engine, exchange, index); }
  const train::CompiledStep& compiled() const { return engine.step(); }

  Gpt2Config config = tiny_model();
  models::ModelEntry entry;
  std::unique_ptr<Backend> backend = make_backend("cpu", 2);
  train::Engine engine;
  LoneEnd end;
  train::StepExchange exchange;
};

/// The hash of one parameter.
std::string hash_of(const train::Engine& engine, std::string_view path) {
  for (const Tensor& tensor : engine.model_tensors())
    if (tensor.path == path) return params_hash(std::span(&tensor, 1));
  FAIL("no parameter " << path);
  return "";
}

std::string state_of(const train::Engine& engine) {
  return params_hash(engine.model_tensors()) + params_hash(engine.optimizer_tensors());
}

int64_t line(const train::CompiledStep& step, std::string_view what) {
  for (const train::MemoryLine& l : step.persistent())
    if (l.what == what) return l.bytes;
  return -1;
}

}  // namespace

TEST_CASE("a frozen parameter does not move, and the others as if it might", "[train]") {
  AdamConfig adam;
  adam.max_grad_norm = std::nullopt;  // so that no parameter's step depends on the others'
  Run all(false, optim::entry("adam"), adam), some(true, optim::entry("adam"), adam);
  const std::string embed = hash_of(some.engine, "embed.weight");
  CHECK(embed == hash_of(all.engine, "embed.weight"));
  CHECK(all.step(0).loss == some.step(0).loss);
  for (const char* path : {"mix.weight", "mix.bias", "head.weight"})
    CHECK(hash_of(all.engine, path) == hash_of(some.engine, path));
  CHECK(hash_of(all.engine, "embed.weight") != embed);
  const float before = some.step(1).loss;
  for (int64_t step = 2; step < 20; ++step) some.step(step);
  CHECK(some.step(20).loss < before);
  CHECK(hash_of(some.engine, "embed.weight") == embed);
}

TEST_CASE("a frozen parameter takes its own memory and no other", "[train]") {
  const AdamConfig adam;
  const Run all(false, optim::entry("adam"), adam), some(true, optim::entry("adam"), adam);
  const int64_t embed = kVocab * kWidth * 4;
  const train::CompiledStep &a = all.compiled(), &b = some.compiled();
  CHECK(line(b, "parameters") == line(a, "parameters"));
  CHECK(line(b, "gradients") == line(a, "gradients") - embed * a.gradient_buffers());
  for (const char* state : {"optimizer exp_avg", "optimizer exp_avg_sq"})
    CHECK(line(b, state) == line(a, state) - embed);
  CHECK(b.state_bytes() == a.state_bytes() - 2 * embed);
  CHECK(some.engine.allocated_bytes() ==
        b.persistent_bytes() - line(b, "constants") + b.arena_bytes() + b.workspace_bytes());
  CHECK(some.engine.model_tensors().size() == 4);
  CHECK(some.engine.optimizer_tensors().size() == 6);
  CHECK(b.params[0].group.empty());
  CHECK(b.params[1].group == "mixing");
}

TEST_CASE("state of any shape is trained with, saved and gone on with", "[train]") {
  const RowsConfig config;
  Run straight(true, kRows, config);
  const auto places = straight.compiled().state.places;
  REQUIRE(places.size() == 6);
  CHECK(places[0].array.type.elements() == kWidth);
  CHECK(places[1].array.type.elements() == 1);
  // mix.weight, mix.bias and head.weight: 16, 16 and 11 rows, and the room of the loss.
  CHECK(line(straight.compiled(), "optimizer row") == 4 * 64);
  CHECK(line(straight.compiled(), "optimizer updates") == 4 * 64);

  const float first = straight.step(0).loss;
  for (int64_t step = 1; step < 10; ++step) straight.step(step);
  const TemporaryFolder folder;
  const auto model = straight.engine.model_tensors(), state = straight.engine.optimizer_tensors();
  for (const Tensor& tensor : state) {
    if (!tensor.path.starts_with("optimizer.updates.")) continue;
    CHECK(tensor.shape.empty());
    float updates = 0;
    std::memcpy(&updates, tensor.data, sizeof(updates));
    CHECK(updates == 10);
  }
  save_checkpoint(folder.path(), {.step = 10,
                                  .config_toml = "",
                                  .config_hash = "",
                                  .numerics = "",
                                  .tokenizer = "",
                                  .extra_json = "",
                                  .model = model,
                                  .optimizer = state});
  const Checkpoint saved = read_checkpoint(folder / "step-10");
  CHECK(saved.has("embed.weight"));
  CHECK_FALSE(saved.has("optimizer.row.embed.weight"));
  CHECK(saved.tensor("optimizer.row.head.weight").shape == std::vector<int64_t>{kVocab});

  Run resumed(true, kRows, config);
  for (const Tensor& target : resumed.engine.model_targets()) saved.load(target);
  for (const Tensor& target : resumed.engine.optimizer_tensors()) saved.load(target);
  float last = 0;
  for (int64_t step = 10; step < 20; ++step) {
    last = straight.step(step).loss;
    CHECK(resumed.step(step).loss == last);
  }
  CHECK(last < first);
  CHECK(state_of(resumed.engine) == state_of(straight.engine));
}
