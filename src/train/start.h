// What a run begins with: the checkpoint or folder that it goes on from, its texts, its step.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "checkpoint/load.h"
#include "compat/hf_folder.h"
#include "data/text_data.h"
#include "train/engine/engine.h"
#include "train/run.h"
#include "train/run_folder.h"

namespace levanter::train {

/// What rank 0 computes with, made before the texts are read: a run that does not fit ends there.
struct Prepared {
  std::unique_ptr<Backend> backend;
  CompiledStep step;
};

/// What all ranks of a run share.
struct Run {
  TrainConfig config;
  const RunOptions& options;
  std::unique_ptr<data::TextData> data = nullptr;
  int64_t vocab = 0;
  std::optional<Checkpoint> from = {};                    ///< what the state is read from
  bool resumes = false;                                   ///< `from` is the run's own
  std::unique_ptr<const compat::HfWeights> hf = nullptr;  ///< or where the model is read from
  /// The key that says how long the run is.
  std::string length_key = "trainer.num_train_steps";
  std::optional<Prepared> prepared = {};
  bool restore_optimizer = true;
  int64_t start_step = 0;
  int64_t first_step = 0;  ///< steps of another run that it was begun with
  BestCheckpoint kept = {};
  Key root{};
  std::atomic<int64_t> need{0};  ///< bytes, by the plan; 0 before there is one
};

/// Refuses a config that can't continue the checkpoint's run; returns the checkpoint's own.
TrainConfig refuse_differences(const TrainConfig& config, const Checkpoint& checkpoint);

/// What the checkpoint says beside its tensors.
nlohmann::json extra_of(const Run& run);

/// Chooses the checkpoint to go on from, if any: the run's own, else the one that start_from names.
void choose_start(Run& run, const RunFolder& folder, std::vector<std::string>& messages);

/// A resumed run goes on with the data that it was begun with.
/// error  kData naming what differs
void check_data(const Run& run, std::vector<std::string>& messages);

/// Says where the bits will differ from those of the checkpoint's machine.
/// error  kCheckpoint with trainer.require_same_bits
void check_numerics(const Run& run, const Backend& backend, std::vector<std::string>& messages);

/// Fills an engine with the state that the run begins with.
void restore(const Run& run, Engine& engine);

/// The backend and the step of one rank.
/// error  kDevice from rank 0 when they do not fit the memory
Prepared prepare(const TrainConfig& config, const RunOptions& options, int64_t vocab, int64_t rank);

/// Reads the texts with the tokenizer, null for one that they make. Where it or the config tells
/// the vocabulary, a run that does not fit is refused before.
void read_texts(Run& run, std::shared_ptr<const text::Tokenizer> tokenizer);

/// Reads the texts and makes steps of the run's epochs; says how many.
std::string count_epochs(Run& run);

}  // namespace levanter::train
