// A training run from its config to its last checkpoint.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "data/cache/cache_build.h"
#include "device/backends.h"
#include "dist/communicator.h"
#include "train/config/train_config.h"

namespace levanter::train {

struct RunOptions {
  /// Node by node as traced, on the reference backend, stopping at the first NaN.
  bool eager = false;
  /// What makes the backends.
  std::unique_ptr<Backend> (*make_backend)(std::string_view name,
                                           int threads) = device::make_backend;
  /// Hears of token caches that are made.
  data::CacheReport cache_report = {};
  /// Hears how the model is filled, and what else takes long before the first step.
  ProgressReport progress = {};
  /// How ranks talk; null: the kind that trainer.communicator names.
  const dist::CommunicatorEntry* communicator = nullptr;
};

enum class Outcome {
  kFinished,         ///< all steps are done
  kAlreadyFinished,  ///< they were done before; nothing was changed
  kStopped,          ///< a signal came; the state was saved
  kRolledBack,       ///< of one start of a run, never of train: it begins again from before
};

/// "finished", "finished before", "stopped", "rolled back".
const char* word_of(Outcome outcome);

/// Trains, resuming from the run's own latest good checkpoint if there is one. SIGINT and SIGTERM
/// end the run after the step under way, with a checkpoint. Where ranks are processes each calls
/// this with the same config, and all return the same.
/// error  kConfig, kData, kCheckpoint, kDevice, kIo as each part says; kGuard where trainer.guard
///        stops the run; dist::Abandoned where it is a rank of
///        another process that had the error
Outcome train(const TrainConfig& config, const RunOptions& options);

/// The same for a process that has one rank, already begun. Collective.
Outcome train(const TrainConfig& config, const RunOptions& options,
              dist::Communicator& communicator);

}  // namespace levanter::train
