// Running the step of a bundle again.
#pragma once

#include <span>
#include <string>

#include "train/guard/bundle.h"
#include "train/run.h"

namespace levanter::train {

struct Replay {
  StepRecord recorded, now;
  std::string reason;   ///< why the run did not take the step
  std::string backend;  ///< that has run it again
  bool taken = false;   ///< whether it would be taken now
  bool same_bits() const { return now.same_bits(recorded); }
};

/// Runs the step of the bundle in `folder` once, on one rank; `overrides` change its config:
/// another device, number of threads or precision. error  kCheckpoint for a bundle that is damaged;
/// kConfig for overrides that change the batch or
///        the model; kGuard with options.eager, naming the first node with a NaN
Replay replay(const std::string& folder, std::span<const std::string> overrides,
              const RunOptions& options);

}  // namespace levanter::train
