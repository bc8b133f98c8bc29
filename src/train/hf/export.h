// Whole Hugging Face folders out of checkpoints, other such folders, and runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "compat/hf_folder.h"
#include "compat/hf_tokenizer.h"
#include "models/model.h"
#include "checkpoint/checkpoint.h"
#include "train/adapter/base.h"
#include "train/adapter/peft.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// What a folder is made of: a whole model's, or an adapter's.
struct HfSource {
  models::HfModel model;                  ///< its config has a vocab_size
  std::vector<compat::HfTensor> tensors;  ///< each of the type that it is kept in
  compat::HfTokenIds ids;
  std::shared_ptr<const text::Tokenizer> tokenizer = {};
  std::string folder = {};  ///< or the Hugging Face folder whose files are copied
  /// Of an adapter, whose are the tensors then: a PEFT folder is written.
  std::optional<PeftSource> adapter = {};
};

/// A step folder, a run folder or a Hugging Face folder.
///   problems  newer checkpoints of the run that were passed over as bad
///   ema       whether it is the running mean of a checkpoint's weights
/// error  kCheckpoint as open_checkpoint, models::read_hf_model and compat::HfWeights; kConfig for
///        the mean of a Hugging Face folder
HfSource hf_source(const std::string& checkpoint, std::vector<std::string>& problems,
                   bool ema = false);

/// A model in memory, which outlives the source, or the adapter of one on `base`. `config` is a
/// resolved one's text.
HfSource hf_source(std::string_view config, std::shared_ptr<const text::Tokenizer> tokenizer,
                   std::span<const Tensor> tensors, const BaseRecord& base = {});

struct HfOptions {
  std::optional<safetensors::Element> dtype = {};  ///< absent: what each tensor is kept in
  int64_t max_shard_bytes = 5'000'000'000;
  bool overwrite = false;  ///< whether a Hugging Face folder that is there already is replaced
  ProgressReport progress = {};
};

/// What was written.
struct HfReport {
  compat::HfWritten weights;
  int64_t tensors = 0;
  bool tokenizer = false;  ///< whether there are files of one
};

/// "f32", "bf16" or "f16".
safetensors::Element hf_dtype(std::string_view name);

/// Writes the folder `out` at once: a reader sees all of it or nothing. Biases and norms' weights
/// that the family's class always has and the model has not are written so that they do nothing.
/// error  kConfig where `out` is occupied; kIo; kCheckpoint for numbers that the type can't hold
HfReport export_hf(const HfSource& source, const std::string& out, const HfOptions& options);

}  // namespace levanter::train
