// What all trackers share.
#include "trackers/tracker.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {

namespace {

constexpr double kExactWhole = 0x1p53;

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

namespace {

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    // language_TERRITORY.codeset@modifier; the system reads "utf8", "UTF-8" and "Utf-8" alike.
    std::string_view codeset = value;
    codeset = codeset.substr(0, codeset.find('@'));
    codeset.remove_prefix(std::min(codeset.find('.'), codeset.size()));
    std::string letters;
    for (const char c : codeset)
      if (c != '-' && c != '.') letters += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return letters == "utf8";
  }
  return false;
}

}  // namespace

void look_at_console(TrackerContext& context) {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  const bool dumb = !term || std::string_view(term).empty() || std::string_view(term) == "dumb";
  context.terminal = ::isatty(context.console_fd) == 1 && !dumb;
  context.color = context.terminal && (!no_color || *no_color == '\0');
  context.unicode = context.terminal && locale_is_utf8();
}

std::span<const config::ChoiceEntry> TrackerConfig::choices() {
  static const std::vector<config::ChoiceEntry> all = config::choices_of(trackers::entries());
  return all;
}

TrackerList trackers_named(std::initializer_list<const char*> names) {
  TrackerList list;
  for (const char* name : names) {
    config::Choice<TrackerConfig>& choice = list.emplace_back();
    for (const config::ChoiceEntry& entry : TrackerConfig::choices()) {
      if (std::string_view(entry.name) != name) continue;
      choice.type = name;
      choice.value = entry.make();
    }
    LEV_CHECK(choice.type == name, "a tracker that is none of the build's");
  }
  return list;
}

TrackerList default_trackers() { return trackers_named({"console", "jsonl", "tensorboard"}); }

std::unique_ptr<Tracker> make_trackers(const TrackerList& chosen, const TrackerContext& context) {
  std::vector<trackers::Named> all;
  for (const config::Choice<TrackerConfig>& choice : chosen)
    for (const TrackerEntry* entry : trackers::entries())
      if (choice.type == entry->name) all.push_back({choice.type, entry->make(*choice, context)});
  return trackers::together(std::move(all), context.console_fd);
}

}  // namespace levanter
