// tensorboard/: event files that TensorBoard reads.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/strings.h"
#include "trackers/event_file.h"
#include "trackers/log_sink.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr double kFlushSeconds = 2;
constexpr size_t kFlushBytes = 1 << 16;

/// The seconds in an event file's name, or -1 for another name.
int64_t seconds_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return -1;
  int64_t seconds = -1;
  name.remove_prefix(kPrefix.size());
  const auto end = std::from_chars(name.data(), name.data() + name.size(), seconds);
  return end.ec == std::errc() ? seconds : -1;
}

/// The seconds in the name of the newest event file, or -1 when there is none to be seen.
int64_t newest_seconds(const std::string& folder) {
  int64_t newest = -1;
  try {
    if (path_exists(folder))
      for (const std::string& name : list_directory(folder))
        newest = std::max(newest, seconds_of(name));
  } catch (const Error&) {
    // The file's own first write meets the same trouble, and tells of it.
  }
  return newest;
}

/// The name of an event file; readers take the files in the order of their names.
std::string name_of_file(int64_t seconds) {
  std::string digits = cat(seconds);
  digits.insert(0, digits.size() < 10 ? 10 - digits.size() : 0, '0');
  return cat(kPrefix, digits, ".", host_name(), ".", static_cast<int64_t>(::getpid()));
}

/// What of a config decides what comes of a run: not where its files are.
trackers::KeyTexts hyperparameters(const TrackerContext& context) {
  trackers::KeyTexts keys;
  for (const auto& [key, toml] : context.config)
    if (key.starts_with("model.") || key.starts_with("optimizer.") || key == "trainer.seed" ||
        key == "trainer.mp" || key == "trainer.num_train_steps" ||
        key == "trainer.train_batch_size")
      keys.emplace_back(key, toml);
  return keys;
}

/// The whole config as a table of Markdown.
std::string config_text(const TrackerContext& context) {
  std::string text = "| key | value |\n|---|---|\n";
  for (const auto& [key, toml] : context.config) {
    std::string cell = toml;
    for (size_t at = 0; (at = cell.find('|', at)) != cell.npos; at += 2) cell.insert(at, 1, '\\');
    text += cat("| ", key, " | `", cell, "` |\n");
  }
  return text;
}

/// A prompt and what follows it as Markdown: its lines as they are.
std::string sample_text(const SampleText& sample) {
  std::string text = cat("prompt: ", quote(sample.prompt), "\n\n");
  for (const std::string& line : split(cat(sample.prompt, sample.text), '\n'))
    text += cat("    ", line, "\n");
  return text;
}

class TensorboardTracker final : public Tracker {
 public:
  /// `newest` is the second of the newest file so far, or -1: a clock that stood still or went back
  /// must not put this file before it.
  TensorboardTracker(const TrackerContext& context, const std::string& folder, int64_t newest)
      : context_(context),
        sink_(join_path(folder,
                        name_of_file(std::max(static_cast<int64_t>(now(context)), newest + 1))),
              "tensorboard", "record"),
        last_step_(context.resume_step) {
    const double wall = now(context);
    append(trackers::version_event(wall));
    if (newest >= 0) {
      const int64_t first = context.resume_step > 0 ? context.resume_step + 1 : 0;
      append(trackers::restart_event(wall, first));
    }
    if (!context.config.empty()) {
      append(trackers::session_start_event(wall, context.run_id, hyperparameters(context)));
      append(trackers::text_event(wall, context.resume_step, "config", config_text(context)));
    }
    flush();
  }

  void log(const Metrics& metrics, int64_t step) override {
    const double wall = now(context_);
    last_step_ = step;
    append(trackers::scalars_event(wall, step, metrics));
    flush_when_due(wall);
  }

  void log_histograms(const Histograms& histograms, int64_t step) override {
    const double wall = now(context_);
    append(trackers::histograms_event(wall, step, histograms));
    flush_when_due(wall);
  }

  void log_samples(std::span<const SampleText> samples, int64_t step) override {
    const double wall = now(context_);
    for (size_t i = 0; i < samples.size(); ++i)
      append(trackers::text_event(wall, step, cat("samples/", i), sample_text(samples[i])));
    flush();
  }

  void log_summary(const Metrics& metrics) override {
    append(trackers::scalars_event(now(context_), last_step_, metrics));
  }

  void message(std::string_view) override {}

  void ended(std::string_view outcome) override {
    append(trackers::text_event(now(context_), last_step_, "outcome", outcome));
    if (!context_.config.empty())
      append(trackers::session_end_event(now(context_), outcome == "finished"));
  }

  void flush() override {
    flushed_at_ = now(context_);
    pending_ = 0;
    sink_.write();
  }

  void finish() override {
    flush();
    sink_.finish();
  }

  std::string news() override { return sink_.news(); }

 private:
  void flush_when_due(double wall) {
    if (pending_ >= kFlushBytes || std::fabs(wall - flushed_at_) >= kFlushSeconds) flush();
  }

  void append(std::string_view event) {
    std::string record = trackers::tf_record(event);
    pending_ += record.size();
    sink_.add(std::move(record));
  }

  TrackerContext context_;
  trackers::LogSink sink_;
  size_t pending_ = 0;  // bytes since the last flush
  int64_t last_step_ = 0;
  double flushed_at_ = 0;
};

std::unique_ptr<Tracker> make(const TrackerConfig&, const TrackerContext& context) {
  const std::string folder = join_path(context.run_folder, "tensorboard");
  const int64_t newest = newest_seconds(folder);
  return std::make_unique<TensorboardTracker>(context, folder, newest);
}

}  // namespace

namespace trackers {
extern const TrackerEntry tensorboard_entry;
const TrackerEntry tensorboard_entry = {"tensorboard",
                                        "event files in the run's tensorboard/, for TensorBoard",
                                        config::make_choice<TrackerConfig>, make};
}  // namespace trackers

}  // namespace levanter
