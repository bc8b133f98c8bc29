// Which pictures a report has, and what is in each.
#include "report/charts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include "base/strings.h"

namespace levanter::report {

namespace {

constexpr size_t kMostPoints = 400;  // of a line where there is one run
constexpr size_t kLeastPoints = 60;  // of each of many runs
constexpr size_t kMostWatched = 6;   // lines of a chart of what is watched
constexpr size_t kMostOthers = 40;   // charts of metrics that have no place of their own

constexpr std::string_view kPhases = "Time of a step by phase";

/// Metrics that only count, that are shown in another form, or that the summary tells.
constexpr std::array<std::string_view, 15> kLeftOut = {
    "global_step",
    "run_progress",
    "train/current_epoch",
    "throughput/total_tokens",
    "throughput/total_gflops",
    "throughput/examples_per_second",
    "throughput/gflops_per_second",
    "throughput/duration",
    "throughput/loading_time",
    "throughput/hook_time",
    "throughput/waited_share",
    "throughput/slowest_rank",
    "eval/total_time",
    "eval/loading_time",
    "eval/timing/load_time",
};

size_t points_for(size_t runs) {
  return std::max(kMostPoints / std::max<size_t>(runs, 1), kLeastPoints);
}

class Charts final {
 public:
  explicit Charts(std::span<const RunData> runs) : runs_(runs) {
    for (const std::string_view name : kLeftOut) taken_.emplace(name);
  }

  std::vector<Chart> make() {
    losses();
    sets("/loss", "Validation loss by set", "nats a token");
    sets("/bpb", "Bits per byte by set", "bits a byte");
    alone("eval/bpb", "Bits per byte", "bits a byte", Scale::kLinear);
    alone("optim/learning_rate", "Learning rate", "", Scale::kLinear);
    alone("grad/norm/total", "Gradient norm", "", Scale::kLog);
    alone("throughput/tokens_per_second", "Throughput", "tokens a second", Scale::kLinear);
    alone("throughput/mfu", "MFU", "% of the machine's peak", Scale::kLinear);
    phases();
    skipped();
    watched("grad_norm", "Gradient norm by parameter");
    watched("param_norm", "Norm by parameter");
    watched("update_ratio", "Norm of the update by the parameter's own");
    watched("attention_entropy", "Entropy of attention by layer, nats", Ends::kLowest);
    watched("attention_max_logit", "Largest logit of attention by layer", Ends::kHighest,
            Scale::kLinear);
    others();
    return std::move(charts_);
  }

 private:
  bool one() const { return runs_.size() == 1; }

  /// Adds a line of a metric where the run has any number of it.
  void add_line(Chart& chart, size_t run, std::string_view metric, const std::string& label) {
    taken_.emplace(metric);
    const Series* series = runs_[run].history.find(metric);
    if (!series) return;
    ChartLine line;
    line.run = run;
    line.label = one() ? label : runs_[run].line.id;
    line.points = bucket(*series, points_for(runs_.size()));
    const History& history = runs_[run].history;
    line.dots =
        static_cast<int64_t>(series->steps.size()) * 4 < history.lines || series->steps.size() == 1;
    const auto finite = [](double v) { return std::isfinite(v); };
    if (std::any_of(line.points.mean.begin(), line.points.mean.end(), finite))
      chart.lines.push_back(std::move(line));
  }

  void add(Chart chart) {
    if (!chart.lines.empty()) charts_.push_back(std::move(chart));
  }

  /// The chart of one metric of every run.
  void alone(std::string_view metric, std::string title, std::string unit, Scale scale) {
    if (taken_.contains(metric)) return;
    Chart chart{.title = std::move(title), .unit = std::move(unit), .scale = scale};
    for (size_t run = 0; run < runs_.size(); ++run)
      add_line(chart, run, metric, std::string(metric));
    add(std::move(chart));
  }

  void losses() {
    Chart training{.title = one() ? "Loss" : "Training loss", .unit = "nats a token", .wide = true};
    for (size_t run = 0; run < runs_.size(); ++run) {
      add_line(training, run, "train/loss", "training");
      const Spike& spike = runs_[run].spike;
      if (spike.step >= 0 && spike.times() >= kSpikeTimes)
        training.marks.push_back({run, spike.step, spike.value,
                                  one() ? cat("spike at step ", format_count(spike.step)) : ""});
    }
    if (one()) add_line(training, 0, "eval/loss", "validation");
    add(std::move(training));
    if (!one()) alone("eval/loss", "Validation loss", "nats a token", Scale::kLinear);
  }

  /// The metrics eval/NAME<end> of several data sets: in one chart, or in one of each.
  void sets(std::string_view end, const std::string& title, const std::string& unit) {
    Chart together{.title = title, .unit = unit};
    for (const std::string& name : names()) {
      if (!name.starts_with("eval/") || !name.ends_with(end) || name.size() <= 5 + end.size() ||
          taken_.contains(name))
        continue;
      const std::string set = name.substr(5, name.size() - 5 - end.size());
      if (one())
        add_line(together, 0, name, set);
      else
        alone(name, cat(title, ": ", set), unit, Scale::kLinear);
    }
    add(std::move(together));
  }

  /// What a step's time goes to, in the order in which it passes.
  void phases() {
    if (!one()) {
      taken_.erase(std::string("throughput/duration"));
      return alone("throughput/duration", "Time of a step", "seconds", Scale::kLinear);
    }
    const History& history = runs_[0].history;
    const Series* duration = history.find("throughput/duration");
    if (!duration) return;
    Series computing = *duration, waiting{"", duration->steps, {}};
    const Series* share = history.find("throughput/waited_share");
    const bool waits = share && share->values.size() == duration->values.size();
    for (size_t i = 0; waits && i < computing.values.size(); ++i) {
      waiting.values.push_back(computing.values[i] * share->values[i]);
      computing.values[i] -= waiting.values[i];
    }
    Chart chart{.title = std::string(kPhases), .unit = "seconds", .stacked = true};
    stack(chart, computing, "computing");
    if (waits) stack(chart, waiting, "waiting for ranks");
    for (const auto& [metric, label] :
         {std::pair("throughput/loading_time", "waiting for data"),
          std::pair("throughput/hook_time", "evaluations, checkpoints, logs")})
      if (const Series* series = history.find(metric); series && series->steps == duration->steps)
        stack(chart, *series, label);
    add(std::move(chart));
  }

  static void stack(Chart& chart, const Series& series, const std::string& label) {
    ChartLine line;
    line.label = label;
    line.points = bucket(series, kMostPoints / 2);
    chart.lines.push_back(std::move(line));
  }

  /// Where any step was not taken.
  void skipped() {
    const auto any = [](const RunData& run) {
      const Series* series = run.history.find("optim/skipped_step");
      return series && std::any_of(series->values.begin(), series->values.end(),
                                   [](double value) { return value > 0; });
    };
    if (std::any_of(runs_.begin(), runs_.end(), any))
      alone("optim/skipped_step", "Steps that were not taken", "", Scale::kLinear);
    taken_.emplace("optim/skipped_step");
  }

  enum class Ends { kHighest, kLowest };

  /// The metrics watch/KIND/PATH: of one run those with the highest values at any step, or the
  /// lowest, in one chart; of several none, as each would need as many charts as there are paths.
  void watched(std::string_view kind, std::string title, Ends ends = Ends::kHighest,
               Scale scale = Scale::kLog) {
    const std::string begin = cat("watch/", kind, "/");
    const double sign = ends == Ends::kLowest ? -1 : 1;
    std::vector<std::pair<double, std::string>> found;
    for (const std::string& name : names()) {
      if (!name.starts_with(begin)) continue;
      taken_.emplace(name);
      double highest = -INFINITY;
      if (const Series* series = runs_[0].history.find(name))
        for (const double value : series->values) highest = std::fmax(highest, sign * value);
      found.emplace_back(highest, name);
    }
    if (!one() || found.empty()) return;
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    if (found.size() > kMostWatched) {
      title += cat(", the ", ends == Ends::kLowest ? "lowest " : "highest ", kMostWatched, " of ",
                   found.size());
      found.resize(kMostWatched);
    }
    Chart chart{.title = std::move(title), .unit = "", .scale = scale};
    for (const auto& [value, name] : found) add_line(chart, 0, name, name.substr(begin.size()));
    add(std::move(chart));
  }

  void others() {
    size_t count = 0;
    for (const std::string& name : names()) {
      if (taken_.contains(name) || count++ >= kMostOthers) continue;
      alone(name, name, "", name.find("norm") == name.npos ? Scale::kLinear : Scale::kLog);
    }
  }

  /// The metrics of all runs.
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const RunData& run : runs_)
      for (const Series& series : run.history.series)
        if (std::find(all.begin(), all.end(), series.name) == all.end()) all.push_back(series.name);
    return all;
  }

  std::span<const RunData> runs_;
  std::vector<Chart> charts_;
  std::set<std::string, std::less<>> taken_;
};

}  // namespace

std::vector<Chart> make_charts(std::span<const RunData> runs) { return Charts(runs).make(); }

}  // namespace levanter::report
