// What a run whose ranks are processes does in case one of them is missed.
#include "train/ranks/watchdog.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "dist/watch.h"
#include "trackers/tracker.h"

namespace levanter::train {

namespace {

double seconds_of(const std::optional<config::Duration>& deadline) {
  return deadline ? deadline->seconds : dist::Deadlines::kNone;
}

}  // namespace

std::string rank_log_name(int64_t rank) {
  const std::string number = cat(rank);
  return cat("rank-", std::string(5 - std::min<size_t>(number.size(), 5), '0'), number, ".log");
}

Watchdog::Watchdog(const TrainConfig& config, dist::Communicator& communicator)
    : config_(config), communicator_(communicator) {
  const WatchdogConfig& w = config.trainer.watchdog;
  if (dist::Watch* const watch = communicator.watch())
    watch->set_deadlines({seconds_of(w.start), seconds_of(w.step), seconds_of(w.save)});
}

Watchdog::~Watchdog() {
  if (dist::Watch* const watch = communicator_.watch()) watch->set_log(nullptr);
}

void Watchdog::know(const std::vector<dist::Place>& places) {
  if (dist::Watch* const watch = communicator_.watch()) watch->set_places(places);
}

void Watchdog::open_log(const dist::Place& place, int threads, int64_t start_step) {
  dist::Watch* const watch = communicator_.watch();
  if (!watch) return;
  try {
    const std::string folder = join_path(config_.run_folder(), kRanksFolder);
    make_directories(folder);
    log_.emplace(join_path(folder, rank_log_name(communicator_.rank())));
  } catch (const Error&) {
    return;
  }
  watch->set_log([this](const std::string& line) { log(line); });
  log(cat("rank ", communicator_.rank(), " of ", communicator_.size(), " on ", place.host,
          ", process ", ::getpid(), ", processors ", place.processors, ", ",
          count_of(threads, "thread"), ", from step ", start_step));
}

Outcome Watchdog::watch(const std::function<Outcome()>& start) {
  dist::enter(communicator_, dist::Phase::kStart, 0);
  try {
    const Outcome outcome = start();
    log(word_of(outcome));
    return outcome;
  } catch (const Error& error) {
    log(cat("failed: ", error.message()));
    throw;
  } catch (const std::exception& other) {  // Abandoned among them
    log(cat("ended: ", other.what()));
    throw;
  }
}

void Watchdog::log(std::string_view line) {
  if (!log_) return;
  try {
    log_->append(cat(utc_time(static_cast<double>(::time(nullptr))), " ", line, "\n"));
  } catch (const Error&) {
    // A full disk costs the line.
  }
}

double patience_with_parts(const WatchdogConfig& config) { return seconds_of(config.save) / 3; }

}  // namespace levanter::train
