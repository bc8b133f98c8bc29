// What a run measured, read from its metrics.jsonl: a series of steps and values for each metric.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace levanter::report {

/// Values by step, the steps ascending; what was no number is NaN.
struct Series {
  std::string name;
  std::vector<int64_t> steps;
  std::vector<double> values;
};

struct History {
  std::vector<Series> series;  ///< in the order of their first appearance
  int64_t lines = 0;           ///< that were read
  int64_t bad_lines = 0;       ///< that are no object with a step; they are left out
  bool torn = false;           ///< whether the last line has no end, as a kill leaves it
  int64_t last_step = 0;       ///< the highest of all
  std::string from, to;        ///< times of the first and the last line, "" where none is said

  /// The series of that name, or null.
  const Series* find(std::string_view name) const;
};

/// Reads a file of one JSON object a line, {"step": 1, "time": "...", "train/loss": 2.5}. Values
/// that are neither numbers nor null are passed over. A file that is not there gives no lines.
/// error  kIo where it is there and cannot be read
History read_history(const std::string& path);

/// The same of the file's last `bytes` alone, where it is longer.
History read_tail(const std::string& path, int64_t bytes);

}  // namespace levanter::report
