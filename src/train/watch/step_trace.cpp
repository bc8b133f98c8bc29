// Writes the trace of some steps of a run.
#include "train/watch/step_trace.h"

#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "train/ranks/watchdog.h"

namespace levanter::train {

StepTrace::StepTrace(const TrainConfig& config, dist::Communicator& communicator,
                     std::function<void(std::string_view)> say)
    : process_(cat(config.run_id(), ", rank ", communicator.rank())), say_(std::move(say)) {
  const std::vector<int64_t>& steps = config.trainer.profile.steps;
  name_thread(cat("rank ", communicator.rank()));
  const bool of_process = communicator.rank() == 0 || communicator.watch();
  if (steps.empty() || !of_process) return;
  first_ = steps.front();
  last_ = steps.back();
  path_ = communicator.rank() == 0 ? join_path(config.run_folder(), kTraceFile)
                                   : join_path(join_path(config.run_folder(), kRanksFolder),
                                               cat("trace-", communicator.rank(), ".json"));
}

StepTrace::~StepTrace() {
  if (tracing_) write();
}

void StepTrace::before(int64_t step) {
  if (step >= first_ && step <= last_ && !tracing_) tracing_.emplace();
}

void StepTrace::after(int64_t step) {
  if (tracing_ && step >= last_) write();
}

void StepTrace::write() {
  const std::string text = tracing_->json(process_);
  tracing_.reset();
  std::string said = cat("traced steps ", first_, " to ", last_, " into ", path_);
  try {
    make_directories(parent_path(path_));
    write_file_atomic(path_, text);
  } catch (const Error& error) {
    said = cat("the trace is not written: ", error.message());
  }
  if (say_) say_(said);
}

}  // namespace levanter::train
