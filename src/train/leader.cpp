// What rank 0 alone has of a run.
#include "train/leader.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/stop.h"
#include "base/strings.h"
#include "report/page.h"
#include "train/data_record.h"
#include "train/engine/memory_report.h"

namespace levanter::train {

Ending ending_of(const std::exception_ptr& failure) {
  if (stop_requested()) return {"stopped"};
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return {"failed", error.message()};
  } catch (const std::exception& other) {
    return {"failed", other.what()};
  }
}

void finish(Tracker& tracker, const Ending& ending) {
  tracker.ended(ending.error.empty() ? ending.outcome : cat(ending.outcome, ": ", ending.error));
  tracker.finish();
}

void Leader::begin_record(const Run& run) {
  const TrainConfig& config = run.config;
  record.emplace(folder->path(), config.run_id());
  record->set("first_step", run.decision.start_step);
  record->set("config_hash", config_hash(config));
  record->set("data", nlohmann::ordered_json::parse(data_record(*run.opened.data)));
  record->set("validation_tokens", run.opened.data->validation_tokens());
  record->set("ranks", config.trainer.ranks);
  record->set("threads", run.backend->threads());
  record->set("device", run.backend->device_name());
  record->set("numerics", numerics_of(config, *run.backend));
  if (const std::string problem = record->write(); !problem.empty())
    messages.push_back(cat(problem, "; the run goes on"));
}

void Leader::write_plan(const TrainConfig& config, const CompiledStep& step) {
  try {
    folder->write_plan(memory_json(config, step));
  } catch (const Error& error) {
    messages.push_back(cat(error.message(), "; the run goes on"));
  }
}

void Leader::close_record(Tracker& tracker, const Ending& ending) {
  std::string problem = record->end(ending.outcome, ending.error);
  try {
    report::write_report(folder->path());
  } catch (const Error& error) {
    problem = cat("the report is not written: ", error.message());
  } catch (const std::exception& other) {
    problem = cat("the report is not written: ", other.what());
  }
  if (!problem.empty()) tracker.message(problem);
}

Outcome Leader::recorded(const std::function<Outcome()>& work) {
  try {
    const Outcome outcome = work();
    if (record) record->end(word_of(outcome));
    return outcome;
  } catch (...) {
    const Ending ending = ending_of(std::current_exception());
    if (record) record->end(ending.outcome, ending.error);
    throw;
  }
}

}  // namespace levanter::train
