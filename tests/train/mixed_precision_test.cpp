// Training in bf16: gradients close to those in f32, and the same bits however the work is cut.
#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>

#include "support/training.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Activations have 8 bits: gradients through two layers differ by a few of 2^-8, relative to the
/// largest element of the same parameter's gradient.
constexpr double kBf16GradientTolerance = 0.06;
constexpr double kBf16LossTolerance = 0.01;

StepPlan mixed(StepPlan plan) {
  plan.compute = DType::bf16;
  return plan;
}

StepPlan one_microbatch(DType compute) {
  StepPlan plan{4, 1, 1};
  plan.compute = compute;
  return plan;
}

/// Loss and gradients of one microbatch, flat; `engine` stays for what comes after.
struct Gradients {
  Gradients(const Gpt2Config& model, DType compute, const Backend& backend)
      : engine(compile_step(model, adam, one_microbatch(compute), backend), backend) {
    engine.initialise(key_from_seed(1));
    const MadeUpRows rows(0, 0, 4);
    engine.begin_step(rows.loss_tokens(), key_from_seed(2));
    engine.run_microbatch(rows.from(0));
  }
  double at(int64_t i) { return engine.total()[i]; }
  const AdamConfig adam;
  train::Engine engine;
};

std::string state_of(const train::Engine& engine) {
  return params_hash(engine.model_tensors()) + params_hash(engine.optimizer_tensors());
}

}  // namespace

TEST_CASE("gradients in bf16 are those in f32 but for rounding", "[train]") {
  const auto backend = make_backend("reference");
  for (const Gpt2Config& model : {tiny_model(), tiny_model_with_dropout()}) {
    Gradients exact(model, DType::f32, *backend), rounded(model, DType::bf16, *backend);
    const train::FlatLayout& layout = exact.engine.step().layout;
    const auto& params = exact.engine.step().params;
    const double loss = exact.at(layout.offset_of(0));
    CHECK(std::abs(rounded.at(layout.offset_of(0)) - loss) <= kBf16LossTolerance * loss);
    bool differs = false;
    for (size_t p = 0; p < params.size(); ++p) {
      double largest = 0, worst = 0;
      for (int64_t i = 0; i < params[p].type.elements(); ++i) {
        const int64_t at = layout.offsets[p] + i;
        largest = std::max(largest, std::abs(exact.at(at)));
        worst = std::max(worst, std::abs(exact.at(at) - rounded.at(at)));
      }
      INFO(params[p].path);
      CHECK(worst <= kBf16GradientTolerance * largest);
      differs |= worst > 0;
    }
    CHECK(differs);
  }
}

TEST_CASE("threads, ranks and rematerialisation leave a bf16 run's bits", "[train]") {
  Gpt2Config model = tiny_model_with_dropout();
  const Trained expected = train_tiny(model, mixed({2, 6, 6}), "cpu", 1, 3);
  CHECK(train_tiny(model, mixed({2, 6, 6}), "cpu", 2, 3) == expected);
  CHECK(train_tiny(model, mixed({2, 6, 6, 2}), "cpu", 1, 3) == expected);
  CHECK_FALSE(train_tiny(model, {2, 6, 6}, "cpu", 1, 3) == expected);
  for (const char* policy : {"none", "full"}) {
    model.gradient_checkpointing = policy;
    CHECK(train_tiny(model, mixed({2, 6, 6}), "cpu", 2, 3) == expected);
  }
}

TEST_CASE("an optimised bf16 step has the bits of the step as traced", "[train]") {
  for (const Gpt2Config& model : {tiny_model(), tiny_model_with_dropout()}) {
    StepPlan plan = mixed({2, 3, 2});
    const Trained optimised = train_tiny(model, plan, "reference", 1, 2);
    plan.optimise = false;
    CHECK(train_tiny(model, plan, "reference", 1, 2) == optimised);
  }
}

TEST_CASE("a bf16 run stopped and resumed ends with the bits of one never stopped", "[train]") {
  const TinyRun run;
  const std::string mp = "mp = \"p=f32,c=bf16\"\n";
  const TrainConfig straight = run.config(
      "straight", cat(mp, "num_train_steps = 12\ncheckpointer = { keep = [{ every = 6 }] }\n"));
  REQUIRE(train::train(straight, {}) == train::Outcome::kFinished);
  // Another run begins with the first one's state of step 6.
  const TrainConfig other =
      run.config("resumed", cat(mp,
                                "num_train_steps = 12\n[start_from]\nkind = \"checkpoint\"\npath = "
                                "\"runs/straight/checkpoints/step-6\"\n"));
  REQUIRE(train::train(other, {}) == train::Outcome::kFinished);
  const auto hash = [&](const std::string& name) {
    const std::string text = read_file(run.folder / cat("runs/", name, "/summary.json"));
    const size_t at = text.find("\"params_hash\"");
    REQUIRE(at != std::string::npos);
    return text.substr(at, 50);
  };
  CHECK(hash("resumed") == hash("straight"));
}

TEST_CASE("parameters written into a bf16 engine are packed before they are used", "[train]") {
  const Gpt2Config model = tiny_model();
  const AdamConfig adam;
  const auto backend = make_backend("reference");
  const StepPlan plan = mixed({2, 1, 1});
  train::Engine one(compile_step(model, adam, plan, *backend), *backend),
      two(compile_step(model, adam, plan, *backend), *backend);
  one.initialise(key_from_seed(1));
  two.initialise(key_from_seed(2));
  const MadeUpRows rows(0, 0, 2);
  const auto losses = [&](train::Engine& engine) {
    const auto view = engine.run_evaluation(rows.from(0));
    return std::vector<float>(view.begin(), view.end());
  };
  const auto expected = losses(one);
  CHECK_FALSE(losses(two) == expected);
  const auto from = one.model_tensors();
  const auto to = two.model_targets();
  for (size_t i = 0; i < from.size(); ++i)
    std::memcpy(to[i].data, from[i].data, static_cast<size_t>(from[i].bytes()));
  CHECK(losses(two) == expected);
  CHECK(state_of(one) == state_of(two));
}

TEST_CASE("the plan of a bf16 step names the packed parameters, one of f32 has none", "[train]") {
  const Gpt2Config model = tiny_model();
  const AdamConfig adam;
  const auto backend = make_backend("reference");
  const auto packed = [&](const StepPlan& plan) {
    const train::CompiledStep step = compile_step(model, adam, plan, *backend);
    for (const train::MemoryLine& line : step.persistent())
      if (line.what == "packed parameters") return line.bytes;
    return int64_t{0};
  };
  // All but wpe and norms; the tied head is wte; multiples of 64 bytes each.
  const int64_t head = (11 * 16 * 2 + 63) / 64 * 64;
  const int64_t block = 2 * (16 * 48 + 16 * 16 + 16 * 64 + 64 * 16);
  const int64_t biases = 128 + 64 + 128 + 64;  // of 48, 16, 64 and 16
  CHECK(packed(mixed({2, 1, 1})) == head + 2 * (block + biases));
  CHECK(packed({2, 1, 1}) == 0);
}
