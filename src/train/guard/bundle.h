// A bundle: a batch that was not learned from, with all that it takes to run its step again to the
// bit, without the texts, on any machine.
//   state/step-N/      a checkpoint of the state before the step
//   batch.safetensors  every array of the batch, [row, position]
//   rows.jsonl         for people: where each row comes from, and its texts
//   bundle.json        what the step gave; written last, so that a folder without it is no bundle
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/rows/loader.h"
#include "train/hooks.h"

namespace levanter::train {

/// What a step gave, as a run has recorded it or as a replay finds it.
struct StepRecord {
  int64_t step = 0;   ///< from 1
  int64_t place = 0;  ///< of its batch
  StepLimits limits = {};
  float loss = 0, grad_norm = 0;
  std::string gradients = {};  ///< gradients_hash
  std::string numerics = {};   ///< the numerics signature

  /// Whether loss, norm and gradients are the same to the bit; a NaN is a NaN.
  bool same_bits(const StepRecord& other) const;
};

struct Bundle {
  StepRecord record;
  std::string reason;  ///< why the step was not taken
  std::string state;   ///< the folder of the checkpoint
  data::Batch batch;
};

/// xxh3-128 of the gradients in the order of their parameters' names, every NaN alike.
std::string gradients_hash(const Engine& engine);

/// Writes <run>/bundles/step-N, or step-N-batch-P where rollbacks have moved the step's batch; one
/// that is there stays as it is. Older bundles but the first make room.
/// returns the folder, or "" where none may be kept
/// error  kIo
std::string write_bundle(const HookContext& context, const StepInfo& info);

/// Reads a bundle and checks all of it but its checkpoint.
/// error  kCheckpoint for a folder that is none, or that is damaged, naming the file
Bundle read_bundle(const std::string& folder);

}  // namespace levanter::train
