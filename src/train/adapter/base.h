// The frozen model under an adapter: where its parameters are read, and how they are known again.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/random.h"
#include "checkpoint/load.h"
#include "compat/hf_folder.h"
#include "infer/trace.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// What a checkpoint of an adapter says of the model under it.
struct BaseRecord {
  StartKind kind = StartKind::kNone;  ///< kNone: drawn from the run's seed
  std::string place = {};             ///< the folder step-N, or the Hugging Face folder
  std::string params_hash = {};
};

/// The record as JSON.
std::string text_of(const BaseRecord& base);
/// That of a checkpoint, from its manifest's extra_json; nothing where it holds a whole model.
/// error  kCheckpoint where it is no record
std::optional<BaseRecord> base_of(const std::string& extra_json);

/// The files of a base; none for one that is drawn.
struct BaseModel {
  std::shared_ptr<const Checkpoint> checkpoint = {};
  std::shared_ptr<const compat::HfWeights> hf = {};
  std::vector<std::string> problems = {};  ///< bad checkpoints passed over, and changed files

  /// Of these files.
  BaseRecord record() const;
};
/// error  kCheckpoint where they are gone, or are of an adapter themselves
BaseModel open_base(StartKind kind, const std::string& place);

/// The tensors of the model, or with `adapts` of its adapter, among all of both.
std::vector<Tensor> tensors_of(const std::vector<nn::Param>& params, std::span<const Tensor> all,
                               bool adapts);

/// Fills the model's parameters among `all`, a few rows at a time, on so many threads, rounded to
/// what each is held in; those of a base that is drawn begin under `key`.
/// returns the params_hash of what the base has, before it is rounded: without rows of a
///         vocabulary that is made larger
std::string load_base(const BaseModel& base, const infer::ModelSpec& spec, int64_t vocab_size,
                      Key key, const std::vector<nn::Param>& params, std::span<const Tensor> all,
                      int threads, const ProgressReport& progress);

/// error  kCheckpoint naming `adapter`, where the parameters are not those that it was trained on
void require_same_base(const std::string& trained_on, const std::string& params_hash,
                       const std::string& adapter, const std::string& place);

}  // namespace levanter::train
