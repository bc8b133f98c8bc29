// The Hugging Face folders that a run leaves: <hf_save_path>/<trainer.id>/step-N, and those of the
// running mean of the weights in <hf_save_path>/<trainer.id>/ema/step-N.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trackers/tracker.h"
#include "train/hf/export.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// Folders are due every hf_save_steps steps and after the last. One that cannot be written ends
/// nothing: it is made later from the checkpoint of its step, where there is one.
class HfFolders final {
 public:
  /// The config has an hf_save_path; `tracker` hears of what is written, how far that is, and why
  /// something is not. Both outlive this. `ema`: of the running mean.
  HfFolders(const TrainConfig& config, Tracker& tracker, bool ema = false);

  bool of_ema() const { return ema_; }
  bool due(int64_t step) const;
  /// Writes the folder of a step of which `source` is the model.
  void write(int64_t step, const HfSource& source);

  /// The steps up to `last` whose folders are due and missing, and whose checkpoints are there.
  std::vector<int64_t> missing(const std::string& checkpoints, int64_t last) const;
  /// Makes these folders, and removes what killed processes left of some.
  void make_missing(const std::string& checkpoints, int64_t last);

  /// Says how many folders could not be written; an Error of kind kIo when that of the last step is
  /// among them.
  void account() const;

 private:
  std::string folder(int64_t step) const;

  const TrainConfig& config_;
  Tracker* tracker_;
  bool ema_;
  std::string path_;
  HfOptions options_;
  void sweep();
  void failed(int64_t step, const Error& error);

  std::map<int64_t, std::string> failed_;  ///< why each of these steps has no folder
  bool failing_ = false;                   ///< the one tried last failed, which has been said
};

/// The folders of a config: none, those of the weights, and with optimizer.ema those of the mean.
std::vector<HfFolders> hf_folders(const TrainConfig& config, Tracker& tracker);

}  // namespace levanter::train
