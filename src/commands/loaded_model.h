// A checkpoint opened for evaluation or generation: its config, tokenizer and parameters.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/backend.h"
#include "infer/inference.h"
#include "nn/adapter.h"
#include "text/tokenizer.h"
#include "train/config/train_config.h"

namespace levanter::commands {

struct LoadedModel {
  TrainConfig config;
  std::string folder;  ///< step-N, or the Hugging Face folder
  int64_t step = 0;
  int64_t vocab_size = 0;  ///< rows of its embedding
  std::string extra_json;  ///< of a checkpoint's manifest
  int64_t rows = 1;        ///< that token_losses takes at a time
  std::vector<std::string>
      problems;  ///< bad checkpoints passed over, and what is wrong with a config
  std::shared_ptr<const text::Tokenizer> tokenizer;  ///< none: that of a config's data
  std::unique_ptr<Backend> backend;
  std::shared_ptr<const nn::Adapter> several;  ///< those that have names; null for none
  std::unique_ptr<infer::InferenceModel> model;
};

/// A PEFT folder beside a model.
struct AdapterFolder {
  std::string folder;
  std::string name = {};  ///< by which texts choose it; "" for that of all texts, the only one
};

struct LoadOptions {
  int64_t rows = 0;  ///< that token_losses takes at a time; 0: the config's microbatch
  /// None, or one without a name, or any number with one each: the model then has several, and runs
  /// each text with its own (infer::Continuation::adapter counts them in this order).
  std::vector<AdapterFolder> adapters = {};
  bool ema = false;  ///< of a checkpoint: the running means of its weights, instead of them
};

/// Opens `checkpoint` (a step folder, a run folder or a Hugging Face folder). The config is the
/// checkpoint's own with `overrides`, or `config_file` where given: the model is the checkpoint's
/// all the same, but for the window, and where the file names another that is a problem.
/// error  kCheckpoint naming a parameter that is not finite; as open_checkpoint, compat::HfWeights
///        and train::load_peft
LoadedModel load_model(const std::string& checkpoint, const std::string& config_file,
                       std::span<const std::string> overrides, const LoadOptions& options);

/// Throws where token_losses of `rows` rows need more memory than there is, before it takes any.
/// error  kDevice naming both
void require_memory(const LoadedModel& model);

/// Throws where a text has a token that the model has no row for, as tokens may that were added to
/// a tokenizer and not to its model. error  kData naming the token, at `place`
void require_rows(const LoadedModel& model, std::span<const int32_t> ids, const std::string& place);

}  // namespace levanter::commands
