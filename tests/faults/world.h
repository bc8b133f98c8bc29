// A training small enough to be done hundreds of times, and the judge of how a disturbed one ended.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "faults/lab.h"
#include "faults/process.h"

namespace levanter::faults {

/// What distinguishes a world; each text goes into its table of the configuration.
struct Recipe {
  std::string name;
  std::string model = "max_seq_len = 32\nhidden_dim = 32\nnum_layers = 2\nnum_heads = 4\n";
  std::string trainer = "threads = 1\n";
  int64_t steps = 200;
  int64_t steps_per_save = 80;  ///< permanent checkpoints and Hugging Face folders
  std::string save_interval = "20ms";
  /// Whether the checkpoint of the best weights is sure to be saved when it is due; where it is
  /// not, which one is kept does not count.
  bool best_is_sure = true;
  /// What starts the program: a path and words before the program's own; none: nothing does.
  std::vector<std::string> launcher = {};
};

class World final {
 public:
  /// Trains undisturbed, once.
  World(const Lab& lab, Recipe recipe);

  const Lab& lab() const { return lab_; }
  /// The undisturbed run; what it wrote is in out/ below.
  const std::string& base() const { return base_; }
  /// Seconds that it took.
  double seconds() const { return seconds_; }

  /// Writes texts, tokenizer and run.toml into the folder of the trials.
  void make() const;
  /// The command that all is about, in the folder of the trials.
  Process train(std::vector<std::string> environment = {}) const;
  /// Whether out/ holds what the undisturbed run wrote: checkpoints, caches, Hugging Face folders
  /// and configs to the bit, metrics.jsonl and summary.json but for times; nothing more. `but`
  /// names files that do not count.
  Verdict judge(const std::vector<std::string>& but = {}) const;
  /// Trains to the end, now undisturbed, and judges.
  Verdict finish(const std::vector<std::string>& but = {}) const;

 private:
  const Lab& lab_;
  Recipe recipe_;
  std::string base_;
  double seconds_ = 0;
};

/// The verdict of a command that ended as no command may; none when it did not.
std::optional<Verdict> crash(const Ended& ended);

/// The value of a line "name value" that `levanter verify` prints for the last checkpoint of a run.
std::string params_hash(const Lab& lab, const std::string& folder, const std::string& run);

/// Words that repeat in no simple pattern, always the same: about so many bytes.
std::string some_text(int64_t bytes, uint64_t seed);

/// Every file below a folder, by its path there, sorted; folders without files end in "/".
std::vector<std::string> files_below(const std::string& folder);

}  // namespace levanter::faults
