// Finding, checking and reading checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "checkpoint/manifest.h"
#include "device/tensor.h"

namespace levanter {

/// A checkpoint whose every byte was checked when it was opened. Its files stay open: it can be
/// read after its run has removed it.
class Checkpoint final {
 public:
  using Files = std::map<std::string, InputFile>;

  Checkpoint(std::string folder, Manifest manifest, Files files);

  /// The folder step-N.
  const std::string& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  int64_t step() const { return manifest_.step; }
  const std::string& config_toml() const { return config_toml_; }
  const std::string& tokenizer() const { return tokenizer_; }

  bool has(std::string_view path) const;
  /// An Error of kind kCheckpoint naming the nearest path for one that is not there.
  const TensorRecord& tensor(std::string_view path) const;
  /// Fills `destination` with the whole tensor in C order, from whatever slices it is stored in.
  /// The size must be the tensor's (LEV_CHECK).
  void load_tensor(std::string_view path, std::span<std::byte> destination) const;
  /// The same, of a target's rows, after checking dtype and shape: an Error of kind kCheckpoint
  /// names both sides.
  void load(const Tensor& target) const;
  /// Where the parameter `path` is as the model is used: its average, where the optimizer keeps one
  /// instead of it, else the parameter. With `ema` its running mean, which must be there.
  std::string path_in_use(std::string_view path, bool ema = false) const;
  /// Of the model's parameters as stored.
  std::string params_hash() const;

 private:
  void load_rows(const Tensor& target, std::span<std::byte> destination) const;

  std::string folder_;
  Manifest manifest_;
  std::shared_ptr<const Files> files_;
  std::string config_toml_, tokenizer_;
};

/// Opens step-N and verifies all its checksums. An Error of kind kCheckpoint names the first fault:
/// a missing or damaged manifest, a missing, truncated or altered file; or says that it was removed
/// meanwhile.
Checkpoint read_checkpoint(const std::string& step_folder);

/// What a search found: the newest good checkpoint, and one line for each newer one that is bad.
struct FoundCheckpoint {
  std::optional<Checkpoint> checkpoint;
  std::vector<std::string> problems;
};

/// The newest good checkpoint below `folder` (which holds step-N folders and may be missing). One
/// that its run removes meanwhile is neither good nor bad: the folder is then looked at again.
/// Nothing at all is a fresh run; problems without a checkpoint mean that all are bad, and a run
/// that started anew would lose them.
FoundCheckpoint find_latest(const std::string& folder);

/// The checkpoint that a person means by `path`: a step folder, a run folder or a folder of
/// checkpoints (the latest good one), or "best" below one of these (that of the lowest eval/loss
/// that is kept). An Error of kind kCheckpoint when there is none.
FoundCheckpoint open_checkpoint(const std::string& path);

/// A checkpoint and the eval/loss of its weights; step -1 for none.
struct BestCheckpoint {
  int64_t step = -1;
  double loss = std::numeric_limits<double>::infinity();
};

/// The best checkpoint that the latest one of `folder` knows of and that is there.
BestCheckpoint best_checkpoint(const std::string& folder);

/// What `levanter verify` says.
struct VerifyReport {
  std::string folder;       ///< the step folder that step and params_hash are of
  int64_t step = -1;        ///< -1 when no good checkpoint was found
  std::string params_hash;  ///< "" then
  bool ok = false;          ///< no problem anywhere that was looked at
  std::vector<std::string> problems;
};

/// Checks one step folder, or every checkpoint of a run folder (step and hash are the latest good
/// one's). Damage is reported, not thrown; what its run removes meanwhile is no damage; a path
/// without any checkpoint is an Error of kind kCheckpoint.
VerifyReport verify_checkpoint(const std::string& path);

}  // namespace levanter
