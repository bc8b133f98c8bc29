// The console: a line that is redrawn on a terminal, with the losses as a curve; plain lines
// anywhere else.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <limits>

#include "base/limits.h"
#include "base/strings.h"
#include "trackers/console.h"
#include "trackers/sparkline.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kMostInterval = 60;  // seconds between two plain lines at most
constexpr int64_t kFirstLines = 3;    // plain lines that are written whatever the time
constexpr double kLongSeconds = 10;   // of what has plain lines while it lasts
constexpr int kBarWidth = 24;
constexpr int kLeastBar = 4;           // characters, of a short line
constexpr int kLeastCurve = 12;        // of the curve of the loss
constexpr int kColumnsWithCurve = 60;  // of a line that has one in any case
constexpr int kDefaultColumns = 80;
constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

/// Seconds between two plain lines after `elapsed` seconds: dense at first, never over a minute.
double line_interval(double elapsed) { return std::clamp(elapsed / 20, 1.0, kMostInterval); }

/// "14:02:31 ", the local time of day.
std::string time_of_day(double seconds) {
  const auto whole = static_cast<time_t>(std::floor(seconds));
  std::tm parts{};
  char text[16] = "";
  if (::localtime_r(&whole, &parts)) std::strftime(text, sizeof text, "%H:%M:%S ", &parts);
  return text;
}

std::string short_rate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", value);
  return text;
}

class ConsoleTracker final : public Tracker {
 public:
  /// `put`: where text goes; none: to the console.
  explicit ConsoleTracker(const TrackerContext& context,
                          std::function<void(std::string_view)> put = {})
      : context_(context),
        put_(std::move(put)),
        step_(context.resume_step),
        curve_(context.total_steps),
        best_(context.best_loss) {}

  void log(const Metrics& metrics, int64_t step) override {
    if (!metrics.empty() && metrics[0].first.starts_with("watch/")) return;  // of single parameters
    const double time = now(context_);
    const bool trains = !std::isnan(find_metric(metrics, "train/loss", kMissing)) ||
                        std::isnan(find_metric(metrics, "eval/loss", kMissing));
    step_ = step;
    if (first_step_ < 0) {
      first_step_ = step;
      first_time_ = time;
    }
    time_ = time;
    loss_ = find_metric(metrics, "train/loss", loss_);
    learning_rate_ = find_metric(metrics, "optim/learning_rate", learning_rate_);
    tokens_per_second_ = find_metric(metrics, "throughput/tokens_per_second", tokens_per_second_);
    mfu_ = find_metric(metrics, "throughput/mfu", mfu_);
    curve_.add(step, find_metric(metrics, "train/loss", kMissing));
    activity_.clear();
    log_evaluation(metrics);
    if (context_.terminal) {
      redraw(time);
    } else if (trains) {
      log_plain(time);
    }
  }

  void log_summary(const Metrics&) override {}

  void message(std::string_view line) override {
    activity_.clear();
    put_line(line);
  }
  bool shows_messages() const override { return true; }

  void progress(const Progress& progress) override {
    const double time = now(context_);
    if (activity_.empty()) {
      activity_at_ = time;
      activity_wait_ = kLongSeconds;
    }
    activity_ = activity_text_.at(time, progress);
    if (context_.terminal) {
      redraw(time);
    } else if (time - activity_at_ >= activity_wait_) {
      activity_wait_ = time - activity_at_ + kMostInterval;
      put_line(cat(place(), "  ", activity_));
    }
  }

  void flush() override {}

  void finish() override {
    activity_.clear();
    if (bar_shown_) {
      draw(time_);
      put("\n");
      bar_shown_ = false;
    }
  }

 private:
  void log_evaluation(const Metrics& metrics) {
    const double loss = find_metric(metrics, "eval/loss", kMissing);
    const double bpb = find_metric(metrics, "eval/bpb", kMissing);
    if (std::isnan(loss)) return;
    evaluated_step_ = step_;
    evaluation_time_ = find_metric(metrics, "eval/total_time", evaluation_time_);
    if (std::isfinite(evaluation_time_)) evaluating_time_ += evaluation_time_;
    std::string line = cat(place(), "  eval/loss ", format_fixed(loss, 4));
    if (!std::isnan(bpb)) line += cat("  eval/bpb ", format_fixed(bpb, 4));
    if (loss < best_) line += "  (best so far)";
    best_ = std::min(best_, loss);
    put_line(context_.color ? cat("\x1b[32m", line, "\x1b[0m") : line);
  }

  void log_plain(double time) {
    const bool due = lines_ < kFirstLines || step_ >= context_.total_steps || time < written_at_ ||
                     time - written_at_ >= line_interval(time - first_time_);
    if (!due || step_ == written_step_) return;
    ++lines_;
    written_at_ = time;
    written_step_ = step_;
    put_line(cat(place(), "  ", percent(), numbers(), remaining()));
  }

  void redraw(double time) {
    if (time - drawn_at_ >= kRedrawSeconds || time < drawn_at_) draw(time);
  }

  void draw(double time) {
    drawn_at_ = time;
    const int room = std::max(columns() - 1, 1);
    // What is said comes first; the bar takes what is left of the line, at most kBarWidth. A curve
    // has its place where the line is not too short for one.
    const bool has_curve = context_.unicode && room >= kColumnsWithCurve;
    std::string said = said_within(has_curve ? room - 3 - kLeastCurve : room);
    const int width = std::min(room - 3 - static_cast<int>(said.size()), kBarWidth);
    if (width >= (room < kColumnsWithCurve ? kLeastBar : 1))
      said = cat("[", bar(width), "] ", said);
    else
      said.resize(std::min(said.size(), static_cast<size_t>(room)));
    put(cat("\r\x1b[K", said));
    bar_shown_ = true;
  }

  /// Percentage and step, and of the rest as much as `room` columns hold, the last things left out
  /// first.
  std::string said_within(int room) const {
    std::vector<std::string> rest = {cat("  ", activity_)};
    if (activity_.empty()) rest = {loss(), rate(), speed(), remaining(), mfu(), memory()};
    // Time and speed matter more than the learning rate does.
    const bool is_narrow = room < kDefaultColumns - 1;
    if (is_narrow && activity_.empty())
      rest = {loss(), remaining(), speed(), rate(), mfu(), memory()};
    // The percentage tells of how many.
    const bool is_short = room < kColumnsWithCurve && activity_.empty();
    std::string said = cat(percent(), "  ", is_short ? cat("step ", step_) : place());
    for (const std::string& part : rest)
      if (said.size() + part.size() <= static_cast<size_t>(room)) said += part;
    return said;
  }

  /// The loss as a curve over the steps of the run, or how much of it is done.
  std::string bar(int width) const {
    if (context_.unicode) return curve_.draw(width);
    const int filled = static_cast<int>(fraction() * width);
    std::string text = std::string(static_cast<size_t>(filled), '=');
    if (filled < width) text += '>';
    text.resize(static_cast<size_t>(width), ' ');
    return text;
  }

  /// A line of its own; the bar, if there is one, moves below it. A plain line has the time of day,
  /// once steps are done.
  void put_line(std::string_view line) {
    const bool timed = !context_.terminal && !put_ && first_step_ >= 0;
    if (!bar_shown_) return put(cat(timed ? time_of_day(now(context_)) : "", line, "\n"));
    put(cat("\r\x1b[K", line, "\n"));
    draw(time_);
  }

  double fraction() const {
    if (context_.total_steps <= 0) return 0;
    return std::clamp(static_cast<double>(step_) / static_cast<double>(context_.total_steps), 0.0,
                      1.0);
  }
  std::string place() const { return cat("step ", step_, "/", context_.total_steps); }
  std::string percent() const { return cat(format_fixed(100 * fraction(), 1), "%"); }

  std::string numbers() const { return cat(loss(), rate(), speed()); }
  std::string loss() const {
    return std::isnan(loss_) ? "" : cat("  loss ", format_fixed(loss_, 4));
  }
  std::string rate() const {
    return std::isnan(learning_rate_) ? "" : cat("  lr ", short_rate(learning_rate_));
  }
  std::string speed() const {
    if (!std::isfinite(tokens_per_second_)) return "";
    return cat("  ", format_count(std::llround(tokens_per_second_)), " tokens/s");
  }
  std::string mfu() const {
    return std::isfinite(mfu_) ? cat("  mfu ", format_fixed(mfu_, 0), "%") : "";
  }
  /// What the process holds of the machine's memory.
  static std::string memory() {
    const int64_t bytes = resident_bytes();
    return bytes > 0 ? cat("  ", format_bytes(bytes)) : "";
  }

  /// The time left: the steps at their mean pace since the first of this start, which pays for
  /// compiling, and the evaluations that are due, each taking as long as the last one.
  std::string remaining() const {
    const int64_t done = step_ - first_step_;
    if (done <= 0 || step_ >= context_.total_steps) return "";
    const double pace =
        std::max(time_ - first_time_ - evaluating_time_, 0.0) / static_cast<double>(done);
    const double evaluation =
        std::isfinite(evaluation_time_) ? evaluation_time_ : pace * context_.steps_of_eval;
    return cat("  eta ", format_duration(pace * static_cast<double>(context_.total_steps - step_) +
                                         evaluation * static_cast<double>(evaluations_left())));
  }

  /// Every steps_per_eval steps there is one, and one after the last step.
  int64_t evaluations_left() const {
    const int64_t every = context_.steps_per_eval;
    if (every <= 0) return 0;
    const bool due = step_ % every == 0 && evaluated_step_ != step_;
    return (context_.total_steps - 1) / every - step_ / every + 1 + (due ? 1 : 0);
  }

  int columns() const {
    winsize size{};
    if (::ioctl(context_.console_fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
      return kDefaultColumns;
    return size.ws_col;
  }

  /// A console that went away must not stop the training, so failures are left at that.
  void put(std::string_view text) const {
    if (put_) return put_(text);
    while (!text.empty()) {
      const ssize_t n = ::write(context_.console_fd, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      text.remove_prefix(static_cast<size_t>(n));
    }
  }

  TrackerContext context_;
  std::function<void(std::string_view)> put_;
  int64_t step_ = 0, first_step_ = -1, written_step_ = -1, lines_ = 0;
  double time_ = 0, first_time_ = 0, written_at_ = 0;
  double drawn_at_ = -std::numeric_limits<double>::infinity();
  double loss_ = kMissing, learning_rate_ = kMissing, tokens_per_second_ = kMissing;
  double mfu_ = kMissing;
  trackers::Sparkline curve_;
  double best_;
  int64_t evaluated_step_ = -1;
  double evaluation_time_ = kMissing, evaluating_time_ = 0;  // of the last one, of all
  std::string activity_;                                     // "evaluating 31%", or ""
  ProgressText activity_text_;
  double activity_at_ = 0, activity_wait_ = 0;
  bool bar_shown_ = false;
};

std::unique_ptr<Tracker> make(const TrackerConfig&, const TrackerContext& context) {
  return std::make_unique<ConsoleTracker>(context);
}

}  // namespace

namespace trackers {

std::unique_ptr<Tracker> make_console(const TrackerContext& context,
                                      std::function<void(std::string_view)> put) {
  return std::make_unique<ConsoleTracker>(context, std::move(put));
}

extern const TrackerEntry console_entry;
const TrackerEntry console_entry = {
    "console",
    "a line with the curve of the losses on a terminal, plain lines elsewhere; to standard error",
    config::make_choice<TrackerConfig>, make};
}  // namespace trackers

}  // namespace levanter
