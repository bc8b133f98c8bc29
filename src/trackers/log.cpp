// run.log: everything that is said of a run, with the time.
#include <functional>

#include "base/files.h"
#include "base/strings.h"
#include "trackers/console.h"
#include "trackers/log_sink.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

constexpr std::string_view kFileName = "run.log";

/// What the console says where it is no terminal, in a file that grows from start to start.
class LogTracker final : public Tracker {
 public:
  explicit LogTracker(TrackerContext context)
      : sink_(join_path(context.run_folder, kFileName), std::string(kFileName), "line") {
    context.terminal = context.color = false;
    lines_ = trackers::make_console(context, [this, context](std::string_view text) {
      sink_.add(cat(utc_time(now(context)), " ", text));
      sink_.write();
    });
  }

  void log(const Metrics& metrics, int64_t step) override { lines_->log(metrics, step); }
  void log_summary(const Metrics& metrics) override { lines_->log_summary(metrics); }
  void log_samples(std::span<const SampleText> samples, int64_t step) override {
    for (const SampleText& sample : samples)
      lines_->message(
          cat("step ", step, " writes after ", quote(sample.prompt), ": ", quote(sample.text)));
  }
  void message(std::string_view line) override { lines_->message(line); }
  bool shows_messages() const override { return true; }
  void progress(const Progress& progress) override { lines_->progress(progress); }
  void flush() override { sink_.write(); }
  void ended(std::string_view outcome) override { lines_->message(outcome); }
  void finish() override {
    lines_->finish();
    sink_.finish();
  }
  std::string news() override { return sink_.news(); }

 private:
  trackers::LogSink sink_;
  std::unique_ptr<Tracker> lines_;
};

std::unique_ptr<Tracker> make(const TrackerConfig&, const TrackerContext& context) {
  return std::make_unique<LogTracker>(context);
}

}  // namespace

namespace trackers {
extern const TrackerEntry log_entry;
const TrackerEntry log_entry = {"log", "run.log in the run's folder: all that is said of it",
                                config::make_choice<TrackerConfig>, make};
}  // namespace trackers

}  // namespace levanter
