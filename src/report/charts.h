// Which pictures a report has, and what is in each: of one run its metrics side by side, of several
// runs the same metric of each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "report/buckets.h"
#include "report/run_data.h"

namespace levanter::report {

struct ChartLine {
  size_t run = 0;     ///< of the report
  std::string label;  ///< "training"; of several runs the run's name
  bool dots = false;  ///< measured now and then: each point is marked
  Buckets points;
};

struct Mark {
  size_t run = 0;
  int64_t step = 0;
  double value = 0;
  std::string text;
};

enum class Scale { kLinear, kLog };

struct Chart {
  std::string title, unit;
  Scale scale = Scale::kLinear;  ///< at first; a button changes it
  bool stacked = false;          ///< lines stand on one another, from zero
  bool wide = false;             ///< takes a row of its own
  std::vector<ChartLine> lines = {};
  std::vector<Mark> marks = {};
};

/// In the order of the page. Metrics that only count, such as global_step, have none.
std::vector<Chart> make_charts(std::span<const RunData> runs);

}  // namespace levanter::report
