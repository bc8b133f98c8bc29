// How a run goes, for a terminal: its curve, its speed, what is left of it.
#pragma once

#include <string>
#include <vector>

#include "report/history.h"
#include "report/run_data.h"

namespace levanter::report {

/// Values as rows of braille characters, two dots wide and four high each, the axis' ends before
/// the first and the last row. Every column shows the range of its values. NaN leaves a gap.
///   columns, rows  of characters, the axis' not counted
std::vector<std::string> draw_curve(const Series& series, size_t columns, size_t rows);

/// The lines of a picture of a run, each at most `columns` wide.
std::vector<std::string> live_view(const RunLine& run, const History& history, size_t columns);

}  // namespace levanter::report
