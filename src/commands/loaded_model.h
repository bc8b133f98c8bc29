// A checkpoint opened for evaluation or generation: its config, tokenizer and parameters.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/backend.h"
#include "infer/inference.h"
#include "text/tokenizer.h"
#include "train/train_config.h"

namespace levanter::commands {

struct LoadedModel {
  TrainConfig config;
  std::string folder;  ///< step-N, or the Hugging Face folder
  int64_t step = 0;
  int64_t rows = 1;                   ///< that token_losses takes at a time
  std::vector<std::string> problems;  ///< newer checkpoints that were passed over as bad
  std::shared_ptr<const text::Tokenizer> tokenizer;  ///< none: that of a config's data
  std::unique_ptr<Backend> backend;
  std::unique_ptr<infer::InferenceModel> model;
};

/// Opens `checkpoint` (a step folder, a run folder or a Hugging Face folder). The config is the
/// checkpoint's own with `overrides`, or `config_file` where given, which must be of the same
/// model. `rows` that token_losses takes at a time; 0: the config's microbatch.
LoadedModel load_model(const std::string& checkpoint, const std::string& config_file,
                       std::span<const std::string> overrides, int64_t rows = 0);

}  // namespace levanter::commands
