// Writes the trace of some steps of a run.
#include "train/watch/step_trace.h"

#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "train/ranks/watchdog.h"

namespace levanter::train {

namespace {

/// Moves the file of that name to trace.1.json, or the first number that is free; its new name, ""
/// where there is none.
std::string keep_earlier(const std::string& path) {
  if (!path_exists(path)) return "";
  std::string to;
  int64_t number = 0;
  do {
    to = join_path(parent_path(path), cat(file_stem(path), ".", ++number, ".json"));
  } while (path_exists(to));
  rename_path(path, to);
  return file_name(to);
}

}  // namespace

StepTrace::StepTrace(const TrainConfig& config, dist::Communicator& communicator,
                     std::function<void(std::string_view)> say, size_t most)
    : of_process_(communicator.rank() == 0 || communicator.watch()),
      most_(most),
      process_(cat(config.run_id(), ", rank ", communicator.rank())),
      say_(std::move(say)) {
  const std::vector<int64_t>& steps = config.trainer.profile.steps;
  name_thread(cat("rank ", communicator.rank()));
  if (steps.empty()) return;
  first_ = steps.front();
  last_ = steps.back();
  path_ = communicator.rank() == 0 ? join_path(config.run_folder(), kTraceFile)
                                   : join_path(join_path(config.run_folder(), kRanksFolder),
                                               cat("trace-", communicator.rank(), ".json"));
}

StepTrace::~StepTrace() { end(); }

void StepTrace::before(int64_t step) {
  if (step < first_ || step > last_) return;
  if (begun_ == 0) {
    first_begun_ = step;
    // The first rank may come later; what this one does until then is in its trace too.
    if (of_process_)
      tracing_.emplace(most_);
    else
      trace::expect();
  }
  begun_ = step;
}

void StepTrace::after(int64_t step) {
  if (step >= last_) end();
}

void StepTrace::end() {
  if (tracing_) write();
}

void StepTrace::write() {
  const std::string text = tracing_->json(process_);
  const int64_t dropped = tracing_->dropped();
  tracing_.reset();
  std::string said = cat("traced step", begun_ > first_begun_ ? "s " : " ", first_begun_);
  if (begun_ > first_begun_) said += cat(" to ", begun_);
  said += cat(" into ", path_);
  if (dropped > 0) said += cat("; ", count_of(dropped, "span"), " did not fit");
  try {
    make_directories(parent_path(path_));
    if (const std::string earlier = keep_earlier(path_); !earlier.empty())
      said += cat("; the earlier trace is ", earlier, " now");
    write_file_atomic(path_, text);
  } catch (const Error& error) {
    said = cat("the trace is not written: ", error.message());
  }
  if (say_) say_(said);
}

}  // namespace levanter::train
