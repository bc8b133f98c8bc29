// What all trackers share, and several trackers as one.
#include "trackers/tracker.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <ctime>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {

namespace {

constexpr double kExactWhole = 0x1p53;

class TrackerSet final : public Tracker {
 public:
  void add(std::unique_ptr<Tracker> tracker) { all_.push_back(std::move(tracker)); }

  void log(const Metrics& metrics, int64_t step) override {
    each([&](Tracker& tracker) { tracker.log(metrics, step); });
  }
  void log_summary(const Metrics& metrics) override {
    each([&](Tracker& tracker) { tracker.log_summary(metrics); });
  }
  void message(std::string_view line) override {
    each([&](Tracker& tracker) { tracker.message(line); });
  }
  void progress(std::string_view what, double fraction) override {
    each([&](Tracker& tracker) { tracker.progress(what, fraction); });
  }
  void flush() override {
    each([](Tracker& tracker) { tracker.flush(); });
  }
  void finish() override {
    each([](Tracker& tracker) { tracker.finish(); });
  }

 private:
  template <class Call>
  void each(Call call) {
    for (const auto& tracker : all_) call(*tracker);
    for (const auto& tracker : all_)
      for (std::string line = tracker->news(); !line.empty(); line = tracker->news())
        for (const auto& listener : all_) listener->message(line);
  }

  std::vector<std::unique_ptr<Tracker>> all_;
};

}  // namespace

double find_metric(const Metrics& metrics, std::string_view name, double otherwise) {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  return otherwise;
}

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  if (value == std::floor(value) && std::fabs(value) < kExactWhole)
    return cat(static_cast<int64_t>(value));
  return format_number(value);
}

std::string utc_time(double seconds) {
  const auto whole = static_cast<time_t>(std::floor(seconds));
  std::tm parts{};
  char text[40] = "";
  if (::gmtime_r(&whole, &parts)) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

double now(const TrackerContext& context) {
  if (context.clock) return context.clock();
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void look_at_console(TrackerContext& context) {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  const bool dumb = !term || std::string_view(term).empty() || std::string_view(term) == "dumb";
  context.terminal = ::isatty(context.console_fd) == 1 && !dumb;
  context.color = context.terminal && (!no_color || *no_color == '\0');
}

std::unique_ptr<Tracker> make_trackers(std::span<const std::string> names,
                                       std::span<const TrackerEntry* const> known,
                                       const TrackerContext& context) {
  auto set = std::make_unique<TrackerSet>();
  std::vector<std::string> all;
  for (const TrackerEntry* entry : known) all.emplace_back(entry->name);
  for (const std::string& name : names) {
    const TrackerEntry* found = nullptr;
    for (const TrackerEntry* entry : known)
      if (entry->name == name) found = entry;
    if (!found) {
      const std::string near = nearest(name, all);
      throw Error(ErrorKind::kConfig, cat("unknown tracker ", quote(name)))
          .allowed(join(all, ", "))
          .hint(near.empty() ? "" : cat("did you mean ", near, "?"));
    }
    set->add(found->make(context));
  }
  return set;
}

}  // namespace levanter
