// A run's own folder.
#include "train/run_folder.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "checkpoint/folder.h"
#include "checkpoint/manifest.h"

namespace levanter {

namespace {

constexpr std::string_view kSummaryFile = "summary.json";

std::string made(std::string path) {
  make_directories(path);
  return path;
}

}  // namespace

void Summary::log(const Metrics& metrics, int64_t step) {
  for (const auto& [name, value] : metrics) set(name, value);
  set("global_step", static_cast<double>(step));
  const double loss = find_metric(metrics, "eval/loss", std::nan(""));
  const bool evaluated = std::any_of(metrics.begin(), metrics.end(), [](const auto& metric) {
    return metric.first == "eval/loss";
  });
  if (evaluated) {
    evaluated_loss_ = loss;
    evaluated_step_ = step;
  }
  if (loss < best_loss_) restore_best(loss, step);
}

void Summary::set(std::string_view name, double value) { put(name, json_number(value)); }

void Summary::set(std::string_view name, std::string_view text) { put(name, quote(text)); }

void Summary::restore_best(double loss, int64_t step) {
  best_loss_ = loss;
  best_step_ = step;
  if (step < 0) return;
  set("best/eval/loss", loss);
  set("best/eval/loss_step", static_cast<double>(step));
}

void Summary::put(std::string_view name, std::string json) {
  for (auto& [key, value] : values_) {
    if (key != name) continue;
    value = std::move(json);
    return;
  }
  values_.emplace_back(name, std::move(json));
}

std::string Summary::json() const {
  std::string text = "{";
  const char* comma = "\n  ";
  for (const auto& [name, value] : values_) {
    text += cat(comma, quote(name), ": ", value);
    comma = ",\n  ";
  }
  return text + "\n}\n";
}

RunFolder::RunFolder(std::string path)
    : path_(made(std::move(path))),
      lock_(join_path(path_, "lock"),
            "two processes may not train one run: stop the other, or name another trainer.id") {
  if (!lock_.note().empty()) messages_.push_back(lock_.note());
  make_directories(checkpoints());
  for (std::string& line : clean_leftovers(checkpoints())) messages_.push_back(std::move(line));
  for (const std::string& name : list_directory(path_)) {
    if (!is_temporary_name(name)) continue;
    remove_tree(join_path(path_, name));
    messages_.push_back(cat("removed ", join_path(path_, name), ", which a stopped process left"));
  }
}

void RunFolder::write_config(std::string_view toml) const {
  write_file_atomic(config_file(), toml);
}

void RunFolder::write_plan(std::string_view json) const {
  write_file_atomic(join_path(path_, "plan.json"), json);
}

void RunFolder::write_summary(const Summary& summary) const {
  write_file_atomic(join_path(path_, kSummaryFile), summary.json());
}

bool is_finished(const std::string& path, int64_t num_train_steps) {
  const std::string last = step_folder(join_path(path, "checkpoints"), num_train_steps);
  const std::string summary_path = join_path(path, kSummaryFile);
  if (!path_exists(summary_path) || !path_exists(join_path(last, kManifestFile))) return false;
  const auto summary =
      nlohmann::json::parse(read_file(summary_path), nullptr, /*allow_exceptions=*/false);
  if (!summary.is_object() || !summary.contains("params_hash")) return false;
  const auto step = summary.find("global_step");
  return step != summary.end() && step->is_number() && *step == num_train_steps;
}

}  // namespace levanter
