// A very small model, made-up rows for it, and whole steps on any number of ranks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dist/sharding.h"
#include "models/families/gpt2_config.h"
#include "optim/adam_config.h"
#include "support/evaluate.h"
#include "train/engine/engine.h"
#include "train/engine/exchange.h"

namespace levanter::testing {

constexpr int64_t kVocab = 11;

/// Two layers of width 16 over eight positions; small enough for a step in a millisecond.
Gpt2Config tiny_model();
/// The same with every kind of dropout.
Gpt2Config tiny_model_with_dropout();

/// How a step is cut up and what it runs on.
struct StepPlan {
  int64_t microbatch = 2, microbatches = 6, groups = 6, ranks = 1;
  bool optimise = true, fuse = true;
  DType compute = DType::f32;
  bool debug = false;
  std::optional<uint64_t> schedule_seed = {};
  models::Segments segments = models::Segments::kSeveral;
  dist::Sharding sharding = dist::Sharding::kOptimizer;
};

/// The step of one rank; `model` and `adam` must outlive it.
train::CompiledStep compile_step(const Gpt2Config& model, const AdamConfig& adam,
                                 const StepPlan& plan, const Backend& backend, int64_t rank = 0);

/// Rows of made-up tokens: a pure function of the step and the row.
struct MadeUpRows : data::Example {
  /// Rows [first, first + count) of the global batch of `step`; about a quarter of the targets
  /// weigh nothing, in a different number a row.
  MadeUpRows(int64_t step, int64_t first, int64_t count);
  /// Row `row` and those after it, as the engine takes them.
  train::Rows from(int64_t row) const;
  double loss_tokens() const;

  int64_t first_example;
};

/// What training ends with.
struct Trained {
  std::string params_hash, state_hash;
  std::vector<float> losses, norms;
  bool operator==(const Trained&) const = default;
};

/// One step of one rank: its microbatches, the sum over ranks, the update.
train::UpdateReport run_step(train::Engine& engine, train::StepExchange& exchange, int64_t step,
                             double lr = 1e-2);

/// So many steps of the program's own loop from the same beginning, on a few documents of made-up
/// tokens; ranks are threads, each with a backend of its own.
Trained train_tiny(const Gpt2Config& model, const StepPlan& plan, const std::string& device,
                   int threads, int64_t steps);

}  // namespace levanter::testing
