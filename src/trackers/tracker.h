// Where a run's numbers go: the interface of the trackers and the registry that names them.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "trackers/tracker_config.h"

namespace levanter {

/// Numbers by name, in the order they were measured. Names are Levanter's: train/loss,
/// optim/learning_rate, throughput/tokens_per_second, eval/loss, grad/norm/total, ...
using Metrics = std::vector<std::pair<std::string, double>>;

/// How values are spread: between limits that are equally far from one another, each value counted
/// where it is at least the lower limit, and the highest one in the last place.
struct Histogram {
  static constexpr size_t kBins = 31;
  int64_t count = 0;  ///< of finite values; others are left out
  double min = 0, max = 0, sum = 0, sum_squares = 0;
  std::vector<double> limits = {};   ///< kBins + 1
  std::vector<int64_t> counts = {};  ///< kBins
};
/// By name.
using Histograms = std::vector<std::pair<std::string, Histogram>>;

/// What a model has written after a prompt.
struct SampleText {
  std::string prompt, text;
};

/// The value of `name`, or `otherwise` when it is missing.
double find_metric(const Metrics& metrics, std::string_view name, double otherwise);

/// A number as JSON: whole numbers below 2^53 without a point or exponent, others as the shortest
/// text that reads back, nan and inf as null.
std::string json_number(double value);

/// Seconds since 1970 as "2026-11-28T14:02:31Z".
std::string utc_time(double seconds);

/// Receives what a run measures. Calls come from one thread, steps never decrease. What cannot be
/// written ends nothing: a tracker keeps it, tries again at later calls, and has it said by `news`.
class Tracker {
 public:
  virtual ~Tracker() = default;

  /// Metrics of a step; a step may have several calls (training, then evaluation).
  virtual void log(const Metrics& metrics, int64_t step) = 0;
  /// Values known once a run: parameter_count, throughput/device_kind's numbers, final results.
  virtual void log_summary(const Metrics& metrics) = 0;
  /// Not every tracker has a place for these.
  virtual void log_histograms(const Histograms& /*histograms*/, int64_t /*step*/) {}
  virtual void log_samples(std::span<const SampleText> /*samples*/, int64_t /*step*/) {}
  /// A line for people: "saved step 500".
  virtual void message(std::string_view line) = 0;
  /// How far something that takes long has come.
  virtual void progress(const Progress& /*progress*/) {}
  /// Hands to the operating system all that was logged; call it before a checkpoint commits, so
  /// that a resumed run finds the metrics of every step before it.
  virtual void flush() = 0;
  /// How the run has ended: "finished", "stopped", "failed: no space left". Comes before `finish`.
  virtual void ended(std::string_view /*outcome*/) {}
  /// The last call but for those of `news` and `message`: flushes and closes.
  virtual void finish() = 0;
  /// The next line about the tracker's own trouble, "" when there is none: that something cannot be
  /// written, that it is again, after `finish` how much was lost.
  virtual std::string news() { return ""; }
  /// Whether people see what `message` is told.
  virtual bool shows_messages() const { return false; }
};

/// What a tracker may need to know of the run.
struct TrackerContext {
  std::string run_folder;      ///< <log_dir>/<id>; files go below it
  std::string run_id;          ///< the name that people see
  int64_t total_steps = 0;     ///< trainer.num_train_steps
  int64_t resume_step = 0;     ///< steps done before this start; 0 for a fresh run
  int64_t first_step = 0;      ///< steps of another run that this one was begun with
  int64_t steps_per_eval = 0;  ///< trainer.steps_per_eval; 0 when nothing is evaluated
  double steps_of_eval = 0;    ///< what an evaluation takes, estimated, in time of steps
  double best_loss = std::numeric_limits<double>::infinity();  ///< eval/loss before this start
  /// Every key of the run's config, its value as TOML.
  std::vector<std::pair<std::string, std::string>> config = {};
  std::string record = "{}";    ///< of this start, as JSON: record/run_record.h
  double (*clock)() = nullptr;  ///< seconds since 1970; nullptr is the system's clock
  int console_fd = 2;           ///< where words for people go
  bool terminal = false;        ///< whether console_fd is one that can redraw a line
  bool color = false;           ///< whether it may be coloured
  bool unicode = false;         ///< whether it shows characters of UTF-8
};

/// Seconds since 1970 by the context's clock.
double now(const TrackerContext& context);

/// Sets `terminal`, `color` and `unicode` as the process finds them: isatty and TERM, NO_COLOR, the
/// first of LC_ALL, LC_CTYPE and LANG that is set.
void look_at_console(TrackerContext& context);

/// A kind of tracker, for the registry.
struct TrackerEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<config::Choosable> (*make_config)();  ///< of a TrackerConfig
  std::unique_ptr<Tracker> (*make)(const TrackerConfig& config, const TrackerContext& context);
};

namespace trackers {
/// Every tracker of the build, in the order of the `parts` dictionary.
std::span<const TrackerEntry* const> entries();

/// A tracker and what to call it when it fails.
struct Named {
  std::string name;
  std::unique_ptr<Tracker> tracker;
};
/// Several trackers as one. Each has a thread of its own and a queue before it, so that a call
/// returns at once; `flush`, `finish` and the end of the object wait for what was called before, no
/// longer than kPatience. What a tracker throws, what its queue has no room for, and the news of
/// each are messages for all; where no other than the one in trouble shows messages, a line on
/// `console_fd` too.
std::unique_ptr<Tracker> together(std::vector<Named> trackers, int console_fd = 2);

inline constexpr size_t kMostWaiting = 8192;  ///< calls in a queue; then the oldest gives way
inline constexpr double kPatience = 10;       ///< seconds
}  // namespace trackers

/// The trackers that a config names, as one.
std::unique_ptr<Tracker> make_trackers(const TrackerList& chosen, const TrackerContext& context);

}  // namespace levanter
