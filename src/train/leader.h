// What rank 0 alone has of a run: its folder, and the record of how it goes.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "record/run_record.h"
#include "trackers/tracker.h"
#include "train/run.h"
#include "train/run_folder.h"
#include "train/start.h"

namespace levanter::train {

/// How a start has ended, and the error that it ended with, or "".
struct Ending {
  std::string outcome, error = {};
};
/// Of an exception that ends it: "stopped" where a signal has come, else "failed".
Ending ending_of(const std::exception_ptr& failure);
/// Tells the trackers, and finishes them.
void finish(Tracker& tracker, const Ending& ending);

/// What keeps a part of the record from being written costs the run nothing but a line.
struct Leader {
  std::optional<RunFolder> folder = {};
  std::optional<record::RunRecord> record = {};  ///< once it is known what is trained on
  std::vector<std::string> messages = {};        ///< what there is to say of the start
  std::string unwritten = {};                    ///< why its config.toml is not written, or ""

  /// Adds this start to run.json.
  void begin_record(const Run& run);
  /// Writes plan.json.
  void write_plan(const TrainConfig& config, const CompiledStep& step);
  /// Writes into the folder how the start has ended, and the run's page.
  void close_record(Tracker& tracker, const Ending& ending);
  /// Calls what a start does; how it ends is recorded, if it came as far as to have a record and
  /// has not closed it.
  Outcome recorded(const std::function<Outcome()>& work);
};

}  // namespace levanter::train
