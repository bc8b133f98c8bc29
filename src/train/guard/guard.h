// What keeps a step from being taken: loss or gradient norm that are not finite, or that jump.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "train/config/train_config.h"
#include "train/engine/engine.h"
#include "train/guard/rollbacks.h"

namespace levanter::train {

/// What becomes of a step.
struct Verdict {
  std::optional<GuardAction> action = {};  ///< absent: it was taken
  std::string reason = {};                 ///< "has loss 9, more than 1.5 times ...", of a step
  std::string key = {};                    ///< of the config, that says so
  std::string hint = {};                   ///< what else it may say
};

/// The shortest text that reads back as this float: "3.3156426", "nan".
std::string float_text(float value);

/// Every rank has one and all of them say the same: what they judge by is the same everywhere, and
/// a checkpoint keeps it.
class Guard final {
 public:
  /// `saved` is a former record, or null; `past` are the run's rollbacks so far.
  Guard(const GuardConfig& config, const nlohmann::json& saved, Rollbacks past);

  /// What the next step may reach: so many times the medians of the window, infinite until that is
  /// half full. The lower one of two medians counts.
  StepLimits limits() const;
  /// Judges a step that was run with limits(), and remembers it. Values that are finite enter the
  /// window whether the step is taken or not, so that a lasting change ends to be a spike.
  Verdict judge(const UpdateReport& report);
  /// The rollback that a verdict asks for: the batches of the last `rollback_steps` steps are left
  /// out with that of the step.
  ///   step   steps done before it
  ///   first  a step that there is no way back from
  Rollback back_from(int64_t step, int64_t first, const std::string& reason) const;

  const Rollbacks& rollbacks() const { return past_; }
  int64_t skipped() const { return skipped_; }            ///< steps not taken, so far
  int64_t skipped_in_a_row() const { return in_a_row_; }  ///< up to the last one
  /// All of this as JSON, "" where there is nothing to remember.
  std::string record() const;

 private:
  const GuardConfig& config_;
  Rollbacks past_;
  std::deque<float> losses_, norms_;  ///< of the window
  int64_t skipped_ = 0, in_a_row_ = 0;
};

}  // namespace levanter::train
