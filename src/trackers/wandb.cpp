// wandb/: offline runs, which `wandb sync` sends to Weights & Biases.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/strings.h"
#include "config/problems.h"
#include "trackers/log_sink.h"
#include "trackers/tracker.h"
#include "trackers/wandb_file.h"

namespace levanter {

namespace {

namespace wandb = trackers::wandb;

constexpr double kStatsSeconds = 15;
constexpr int kStoppedCode = 75, kFailedCode = 1;
constexpr size_t kMostTag = 64;  ///< characters of a tag, which the service has as its limit
constexpr std::string_view kFolderPrefix = "offline-run-";

struct WandbConfig final : TrackerConfig {
  std::string project = "levanter";
  std::optional<std::string> entity, group, name;
  std::vector<std::string> tags;

  void fields(config::Fields& f) override {
    f("project", project, "the project that the run is sent to");
    f("entity", entity, "the user or team that it belongs to; by default who sends it");
    f("group", group, "the runs that it is shown with");
    f("name", name, "what it is called; by default trainer.id");
    f("tags", tags, "words to find it by");
  }
  void validate(config::Problems& p) const override {
    for (const std::string& tag : tags)
      if (tag.empty() || tag.size() > kMostTag)
        p.add("tags", cat(p.name("tags"), " has the tag ", quote(tag)))
            .allowed(cat("1 to ", kMostTag, " characters"));
    if (project.empty() || project.find_first_of("/\\#?%:") != project.npos)
      p.add("project", cat(p.name("project"), " = ", quote(project), " is no project's name"))
          .allowed("text without / \\ # ? % :");
  }
};

/// A number as wandb's JSON, which has words for what is none.
std::string number_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return json_number(value);
}

/// A text as JSON; bytes that are no UTF-8, as a model may write, as U+FFFD.
std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// "20261128_140231", the time here, as names of folders have it.
std::string folder_time(double seconds) {
  const auto whole = static_cast<time_t>(std::floor(seconds));
  std::tm parts{};
  char text[32] = "";
  if (::localtime_r(&whole, &parts)) std::strftime(text, sizeof text, "%Y%m%d_%H%M%S", &parts);
  return text;
}

/// The id that a former start of the run had: its later parts are sent to the same page.
std::string former_id(const std::string& folder) {
  try {
    if (!path_exists(folder)) return "";
    std::string newest;
    for (const std::string& name : list_directory(folder))
      if (name.starts_with(kFolderPrefix)) newest = std::max(newest, name);
    const size_t at = newest.find('-', kFolderPrefix.size());
    return at == newest.npos ? "" : newest.substr(at + 1);
  } catch (const Error&) {
    return "";
  }
}

/// An id that no other run of a project has.
std::string new_id(const TrackerContext& context) {
  const std::string known = cat(host_name(), " ", context.run_folder, " ", now(context));
  return hex64(xxh3_64(known));
}

wandb::Items config_items(const TrackerContext& context) {
  wandb::Items items;
  for (const auto& [key, toml] : context.config)
    items.emplace_back(key, nlohmann::json::accept(toml) ? toml : quote(toml));
  return items;
}

wandb::Run describe(const WandbConfig& config, const TrackerContext& context, std::string id) {
  const auto record = nlohmann::json::parse(context.record, nullptr, /*allow_exceptions=*/false);
  wandb::Run run;
  run.id = std::move(id);
  run.entity = config.entity.value_or("");
  run.project = config.project;
  run.group = config.group.value_or("");
  run.name = config.name.value_or(context.run_id);
  run.host = host_name();
  if (record.is_object()) run.revision = record.value("revision", "");
  run.tags = config.tags;
  run.config = config_items(context);
  if (record.is_object()) run.config.emplace_back("run", context.record);
  run.started = now(context);
  run.starting_step = context.resume_step;
  return run;
}

/// What the process takes of the machine, by the names that the service draws charts for.
class SystemStats final {
 public:
  wandb::Items take(double time) {
    wandb::Items items;
    if (const int64_t resident = resident_bytes(); resident > 0)
      items.emplace_back("proc.memory.rssMB",
                         json_number(static_cast<double>(resident) / (1 << 20)));
    const double available = static_cast<double>(::sysconf(_SC_AVPHYS_PAGES)) *
                             static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
    items.emplace_back("proc.memory.availableMB", json_number(available));
    const double used = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    if (time_ > 0 && time > time_)
      items.emplace_back("cpu", json_number(100 * (used - used_) / (time - time_)));
    time_ = time;
    used_ = used;
    return items;
  }

 private:
  double time_ = 0, used_ = 0;
};

class WandbTracker final : public Tracker {
 public:
  WandbTracker(const WandbConfig& config, const TrackerContext& context)
      : context_(context),
        id_(id_of(context)),
        started_(now(context)),
        sink_(join_path(folder_of(context, id_), cat("run-", id_, ".wandb")), "wandb", "record", {},
              wandb::framed) {
    sink_.add(wandb::header_record(next(), id_));
    sink_.add(wandb::run_record(next(), describe(config, context, id_)));
    sink_.write();
  }

  void log(const Metrics& metrics, int64_t step) override {
    begin_step(step);
    put(step_items_, metrics);
    put(summary_, metrics);
    if (std::fabs(time_ - stats_at_) < kStatsSeconds) return;
    stats_at_ = time_;
    sink_.add(wandb::stats_record(next(), id_, stats_.take(time_), time_));
    sink_.write();
  }

  /// As wandb's own histograms: counts, and limits, which are one more.
  void log_histograms(const Histograms& histograms, int64_t step) override {
    begin_step(step);
    for (const auto& [name, h] : histograms) {
      std::vector<std::string> counts, limits;
      for (const int64_t count : h.counts) counts.push_back(cat(count));
      for (const double limit : h.limits) limits.push_back(number_json(limit));
      step_items_.emplace_back(name,
                               cat("{\"_type\": \"histogram\", \"values\": [", join(counts, ", "),
                                   "], \"bins\": [", join(limits, ", "), "]}"));
    }
  }

  void log_samples(std::span<const SampleText> samples, int64_t step) override {
    begin_step(step);
    for (size_t i = 0; i < samples.size(); ++i)
      step_items_.emplace_back(cat("samples/", i),
                               json_text(cat(samples[i].prompt, samples[i].text)));
  }

  void log_summary(const Metrics& metrics) override {
    put(summary_, metrics);
    wandb::Items items;
    put(items, metrics);
    sink_.add(wandb::summary_record(next(), id_, items));
  }

  void message(std::string_view line) override {
    if (!closed_) sink_.add(wandb::output_record(next(), id_, line, now(context_)));
  }

  /// What is still to come for the last step joins it, so that stays here.
  void flush() override { sink_.write(); }

  void ended(std::string_view outcome) override {
    code_ = outcome == "finished" ? 0 : kFailedCode;
    if (outcome == "stopped") code_ = kStoppedCode;
    summary_.emplace_back("status", quote(outcome));
  }

  void finish() override {
    write_step();
    sink_.add(wandb::summary_record(next(), id_, summary_));
    sink_.add(wandb::exit_record(next(), id_, code_, now(context_) - started_));
    sink_.finish();
    closed_ = true;
  }

  std::string news() override { return sink_.news(); }

 private:
  static std::string id_of(const TrackerContext& context) {
    const std::string former =
        context.resume_step > 0 ? former_id(join_path(context.run_folder, "wandb")) : "";
    return former.empty() ? new_id(context) : former;
  }
  static std::string folder_of(const TrackerContext& context, const std::string& id) {
    return join_path(context.run_folder,
                     cat("wandb/", kFolderPrefix, folder_time(now(context)), "-", id));
  }

  int64_t next() { return ++number_; }

  static void put(wandb::Items& items, const Metrics& metrics) {
    for (const auto& [name, value] : metrics) {
      const auto found = std::find_if(items.begin(), items.end(),
                                      [&](const auto& item) { return item.first == name; });
      if (found == items.end())
        items.emplace_back(name, number_json(value));
      else
        found->second = number_json(value);
    }
  }

  void begin_step(int64_t step) {
    if (step != step_) write_step();
    step_ = step;
    time_ = now(context_);
  }

  void write_step() {
    if (step_items_.empty()) return;
    put(step_items_, {{"_step", static_cast<double>(step_)},
                      {"_timestamp", time_},
                      {"_runtime", time_ - started_}});
    sink_.add(wandb::history_record(next(), id_, std::exchange(step_items_, {}), step_));
  }

  TrackerContext context_;
  std::string id_;
  double started_;
  trackers::LogSink sink_;
  SystemStats stats_;
  int64_t number_ = 0, step_ = -1;
  double time_ = 0, stats_at_ = 0;
  wandb::Items step_items_, summary_;
  int code_ = kFailedCode;  ///< until the end is known
  bool closed_ = false;
};

std::unique_ptr<Tracker> make(const TrackerConfig& config, const TrackerContext& context) {
  return std::make_unique<WandbTracker>(static_cast<const WandbConfig&>(config), context);
}

}  // namespace

namespace trackers {
extern const TrackerEntry wandb_entry;
const TrackerEntry wandb_entry = {
    "wandb", "an offline run in the run's wandb/, which `wandb sync` sends to Weights & Biases",
    config::make_choice<WandbConfig>, make};
}  // namespace trackers

}  // namespace levanter
