// A whole run on the emulated card: the cpu's losses, its own bits again.
#include <nlohmann/json.hpp>

#include "cuda/fake_cuda.h"
#include "support/tiny_run.h"
#include "support/training.h"
#include "support/checks.h"
#include "support/source_root.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

// Losses of a few steps: sums in another order, products in f32.
constexpr double kLossTolerance = 1e-4;
// Losses of a few steps in bf16 beside those in f32.
constexpr double kBf16LossTolerance = 2e-2;

/// TinyRun's config with keys of [trainer] in the place of its own.
TrainConfig config_of(const TinyRun& run, const std::string& id, int steps,
                      const std::string& mp = "f32") {
  return run.config(id, cat("num_train_steps = ", steps, "\nmp = \"", mp, "\"\n"), "",
                    {"--trainer.microbatch_size=6", "--trainer.gradient_groups=2",
                     "--optimizer.lr_schedule=constant"});
}

std::vector<double> losses(const TinyRun& run, const std::string& id) {
  std::vector<double> found;
  for (const std::string& line :
       split(read_file(run.folder / cat("runs/", id, "/metrics.jsonl")), '\n')) {
    if (line.empty()) continue;
    const auto record = nlohmann::json::parse(line);
    if (record.contains("train/loss")) found.push_back(record["train/loss"]);
  }
  return found;
}

std::string params_hash(const TinyRun& run, const std::string& id) {
  return nlohmann::json::parse(
      read_file(run.folder / cat("runs/", id, "/summary.json")))["params_hash"];
}

void train_on(const TrainConfig& config, bool card) {
  REQUIRE(train::train(config, {.make_backend = card ? FakeCuda::make : device::make_backend}) ==
          train::Outcome::kFinished);
}

}  // namespace

TEST_CASE("GPT-2 trains on the emulated card as on the cpu, and again with its own bits",
          "[cuda]") {
  const TinyRun run;
  train_on(config_of(run, "here", 5), false);
  {
    FakeCuda fake;
    train_on(config_of(run, "card", 5), true);
    CHECK(fake.replays() > 5);
    CHECK(fake.living() == "");
    CHECK(fake.fault() == "");
    CHECK(fake.cublas.products() > 40);
  }
  const std::vector<double> here = losses(run, "here"), card = losses(run, "card");
  REQUIRE(here.size() == 5);
  REQUIRE(card.size() == 5);
  for (size_t i = 0; i < here.size(); ++i) CHECK(std::abs(card[i] - here[i]) <= kLossTolerance);
  {  // in another order of threads, on another card, stopped in between
    FakeCuda fake;
    fake.set_order(simt::Order::kRandom);
    fake.set_multiprocessors(3);
    train_on(config_of(run, "again", 3), true);
    train_on(config_of(run, "again", 5), true);
  }
  CHECK(params_hash(run, "again") == params_hash(run, "card"));
}

TEST_CASE("Llama and mixtures of experts train on the emulated card as on the cpu", "[cuda]") {
  for (const std::string family : {"llama", "mixtral", "qwen3_moe"}) {
    INFO(family);
    const TinyRun run;
    const auto config = [&](const std::string& id) {
      return load_train_config(
          cat(source_root(), "/configs/tiny/", family, ".toml"),
          std::vector<std::string>{cat("--data.components.text.train=", run.folder / "text.txt"),
                                   cat("--trainer.log_dir=", run.folder / "runs"),
                                   cat("--trainer.id=", id), "--trainer.tracker=[\"jsonl\"]",
                                   "--trainer.num_train_steps=5", "--trainer.train_batch_size=4",
                                   "--model.max_seq_len=32", "--model.hidden_dim=32",
                                   "--model.intermediate_dim=48"});
    };
    train_on(config("here"), false);
    FakeCuda fake;
    train_on(config("card"), true);
    const std::vector<double> here = losses(run, "here"), card = losses(run, "card");
    REQUIRE(here.size() == 5);
    REQUIRE(card.size() == 5);
    for (size_t i = 0; i < here.size(); ++i) CHECK(std::abs(card[i] - here[i]) <= kLossTolerance);
    CHECK(fake.fault() == "");
  }
}

TEST_CASE("the card holds the bytes that the plan names, to the byte", "[cuda]") {
  const AdamConfig adam;
  for (const DType compute : {DType::f32, DType::bf16}) {
    FakeCuda fake;
    const auto backend = FakeCuda::backend();
    StepPlan plan{2, 3, 1};
    plan.compute = compute;
    const Gpt2Config model = tiny_model_with_dropout();
    train::CompiledStep step = compile_step(model, adam, plan, *backend);
    CHECK(fake.memory() == 0);
    const int64_t planned = step.persistent_bytes() + step.arena_bytes() + step.workspace_bytes();
    train::Engine engine(std::move(step), *backend);
    CHECK(fake.memory() == planned);
    engine.initialise(key_from_seed(1));
    for (int64_t update = 0; update < 3; ++update) {
      engine.begin_step(MadeUpRows(update, 0, 6).loss_tokens(), key_from_seed(2));
      for (int64_t m = 0; m < 3; ++m) engine.run_microbatch(MadeUpRows(update, 2 * m, 2).from(0));
      engine.run_update(update, 1e-3);
      CHECK(fake.memory() == planned);
    }
    const int64_t checked = engine.step().first_run_bytes();
    CHECK(checked > 0);
    CHECK(fake.most_memory() == planned + checked);
  }
}

TEST_CASE("one hash on the emulated card: fused or not, recorded or not, on one to three ranks",
          "[cuda][card]") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    INFO(name_of(compute));
    StepPlan plan;
    plan.compute = compute;
    const auto train = [&] {
      FakeCuda fake;
      const Trained trained = train_tiny(tiny_model_with_dropout(), plan, "cuda", 1, 2);
      CHECK(fake.fault() == "");
      CHECK(fake.living() == "");
      return trained;
    };
    const Trained whole = train();
    plan.ranks = 3;
    CHECK(train() == whole);
    plan.ranks = 2;
    CHECK(train() == whole);
    plan.ranks = 1;
    plan.fuse = false;
    CHECK(train() == whole);
    plan.optimise = false;
    CHECK(train() == whole);
    plan.fuse = plan.optimise = true;
    ::setenv("LEVANTER_CUDA_SYNC", "1", 1);  // nothing is recorded
    CHECK(train() == whole);
    ::unsetenv("LEVANTER_CUDA_SYNC");
  }
}

TEST_CASE("GPT-2 trains in bf16 on the emulated card, its products rounded by the library",
          "[cuda]") {
  const TinyRun run;
  train_on(config_of(run, "here", 3), false);
  FakeCuda fake;
  train_on(config_of(run, "card", 3, "p=f32,c=bf16"), true);
  CHECK(fake.cublas.rounded() > 40);
  const std::vector<double> here = losses(run, "here"), card = losses(run, "card");
  REQUIRE(card.size() == 3);
  for (size_t i = 0; i < card.size(); ++i) CHECK(std::abs(card[i] - here[i]) <= kBf16LossTolerance);
}
