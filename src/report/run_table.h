// A table of runs: their columns, which of them are wanted, and in which order.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "report/run_data.h"

namespace levanter::report {

/// Columns that every run has: run, state, step, loss, best_loss, best_step, tokens_per_second,
/// started, ended.
std::span<const std::string_view> columns();

class RunTable final {
 public:
  explicit RunTable(std::vector<RunLine> runs);

  const std::vector<RunLine>& runs() const { return runs_; }

  /// Keeps the runs of which `condition` is true: "optimizer.learning_rate=3e-4", "step>=1000",
  /// "state!=failed". Numbers are compared as such, all else as text; a run without the key fails
  /// all but !=.
  /// error  kConfig for what is no condition, or names what no run has
  void keep(std::string_view condition);

  /// Sorts by a column or key, upwards: numbers before texts, what a run lacks last.
  void sort(std::string_view name, bool reverse);

  /// The keys in which the runs differ that are in the table now.
  std::vector<std::string> differing_keys() const;

  /// A column, or a key of the configs: whole, or its end, as in "learning_rate", where no other
  /// key ends so.
  /// error  kConfig naming the nearest
  std::string resolve(std::string_view name) const;

  /// What stands in a column or under a key; "" where the run lacks it.
  static std::string text(const RunLine& run, std::string_view name);

 private:
  std::vector<RunLine> runs_;
  std::vector<std::string> keys_;  ///< of all configs, in the order of their first appearance
};

/// The runs below a folder, by name; the folder itself where it is a run's.
/// error  kIo where it cannot be read; kData where no run is in it
std::vector<RunLine> find_runs(const std::string& folder);

}  // namespace levanter::report
