// A run's own folder: <trainer.log_dir>/<trainer.id>/.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_lock.h"
#include "base/files.h"
#include "trackers/tracker.h"

namespace levanter {

/// The flat object of summary.json: the last value of each metric, the best evaluation with its
/// step, and a few texts.
class Summary final {
 public:
  /// Takes the metrics' last values and `step` as global_step, and keeps the lowest eval/loss as
  /// best/eval/loss with its step as best/eval/loss_step.
  void log(const Metrics& metrics, int64_t step);
  void set(std::string_view name, double value);
  void set(std::string_view name, std::string_view text);

  /// The lowest eval/loss so far and its step; infinite and -1 before the first. A resumed run
  /// restores them from its checkpoint.
  double best_loss() const { return best_loss_; }
  int64_t best_step() const { return best_step_; }
  void restore_best(double loss, int64_t step);
  /// The evaluation that was logged last; NaN before the first of this start, and -1 before the
  /// first of all: a resumed run restores its step.
  double evaluated_loss() const { return evaluated_loss_; }
  int64_t evaluated_step() const { return evaluated_step_; }
  void restore_evaluated(int64_t step) { evaluated_step_ = step; }
  /// The step whose samples were written last, -1 before the first; as for evaluations.
  int64_t sampled_step() const { return sampled_step_; }
  void set_sampled(int64_t step) { sampled_step_ = step; }

  /// One key a line, in the order of their first appearance.
  std::string json() const;

 private:
  void put(std::string_view name, std::string json);

  std::vector<std::pair<std::string, std::string>> values_;  // names and JSON
  double best_loss_ = std::numeric_limits<double>::infinity();
  int64_t best_step_ = -1;
  double evaluated_loss_ = std::numeric_limits<double>::quiet_NaN();
  int64_t evaluated_step_ = -1, sampled_step_ = -1;
};

/// The folder, made if missing and locked for as long as this object lives:
///   config.toml  run.json  plan.json  metrics.jsonl  summary.json  report.html  tensorboard/
///   checkpoints/step-N/  lock
///   samples.jsonl, trace.json, where the config asks for them; control, which others write
///   ranks/rank-N.log, where ranks are processes
class RunFolder final {
 public:
  /// An Error of kind kIo when the folder cannot be made, or when a process (named) trains in it.
  /// What a killed process left unfinished in it is removed.
  explicit RunFolder(std::string path);

  const std::string& path() const { return path_; }
  /// What was removed or left when it was opened, and what there is to say of its lock.
  const std::vector<std::string>& messages() const { return messages_; }
  std::string config_file() const { return join_path(path_, "config.toml"); }
  std::string checkpoints() const { return join_path(path_, "checkpoints"); }

  /// Writes config.toml, the resolved configuration.
  void write_config(std::string_view toml) const;
  /// Writes plan.json, the memory of the run.
  void write_plan(std::string_view json) const;
  /// Writes summary.json.
  void write_summary(const Summary& summary) const;

 private:
  std::string path_;
  ProcessLock lock_;
  std::vector<std::string> messages_;
};

/// True when the run of that folder has done its `num_train_steps`: its summary is of that step and
/// has the params_hash that only the end writes, and that step's checkpoint is complete. Needs no
/// lock and changes nothing.
bool is_finished(const std::string& path, int64_t num_train_steps);

}  // namespace levanter
