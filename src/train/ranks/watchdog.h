// What a run whose ranks are processes does in case one of them is missed: the deadlines of its
// config, and a log for each rank.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "dist/communicator.h"
#include "train/config/train_config.h"
#include "train/run.h"

namespace levanter::train {

/// The logs' folder in a run's own.
inline constexpr std::string_view kRanksFolder = "ranks";
/// "rank-00003.log".
std::string rank_log_name(int64_t rank);

/// One rank's; does nothing where ranks are threads.
class Watchdog final {
 public:
  /// Gives the communicator, which outlives it, the deadlines of the config.
  Watchdog(const TrainConfig& config, dist::Communicator& communicator);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From here on messages name machines.
  void know(const std::vector<dist::Place>& places);
  /// The run's folder is there: opens the log, which grows from start to start, and writes where
  /// this rank runs. What cannot be written is left out.
  void open_log(const dist::Place& place, int threads, int64_t start_step);
  /// What one start of the run returns; writes how it ended.
  Outcome watch(const std::function<Outcome()>& start);

 private:
  void log(std::string_view line);

  const TrainConfig& config_;
  dist::Communicator& communicator_;
  std::optional<LogFile> log_;
};

/// How long the first rank's save waits for another rank's part, seconds: it is tried twice, and
/// meanwhile the others wait for the first.
double patience_with_parts(const WatchdogConfig& config);

}  // namespace levanter::train
