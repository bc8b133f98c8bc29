// How a run goes, for a terminal.
#include "report/live.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "base/strings.h"
#include "report/buckets.h"

namespace levanter::report {

namespace {

constexpr size_t kRows = 12;     // of the curve
constexpr size_t kAxis = 10;     // columns of the axis' words
constexpr size_t kLatest = 100;  // steps that "now" is the mean of

/// The UTF-8 of U+2800 + dots.
std::string braille(unsigned dots) {
  const unsigned code = 0x2800 + dots;
  return {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
          static_cast<char>(0x80 | (code & 0x3F))};
}

/// The bit of a dot, by column (0, 1) and row (0 to 3) in its character.
unsigned dot(size_t x, size_t y) {
  constexpr unsigned kLeft[] = {0x01, 0x02, 0x04, 0x40}, kRight[] = {0x08, 0x10, 0x20, 0x80};
  return x == 0 ? kLeft[y] : kRight[y];
}

std::string axis_text(double value) {
  const std::string text = format_fixed(value, 4);
  return std::string(kAxis - 1 - std::min(kAxis - 1, text.size()), ' ') + text + " ";
}

/// The mean of the last values that are numbers; NaN for none.
double latest(const History& history, std::string_view metric) {
  const Series* series = history.find(metric);
  if (!series) return RunLine::kNone;
  const size_t count = std::min(series->values.size(), kLatest);
  double sum = 0;
  int64_t finite = 0;
  for (const double value : std::span(series->values).last(count)) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++finite;
  }
  return finite > 0 ? sum / static_cast<double>(finite) : RunLine::kNone;
}

/// Seconds of what is left, at the pace of the last steps with all that is between them.
std::string time_left(const RunLine& run, const History& history) {
  const double pace = latest(history, "throughput/duration");
  const double between =
      latest(history, "throughput/hook_time") + latest(history, "throughput/loading_time");
  if (run.state != "running" || std::isnan(pace) || run.total_steps <= run.step) return "";
  const double a_step = pace + (std::isnan(between) ? 0 : between);
  return cat("  eta ", format_duration(a_step * static_cast<double>(run.total_steps - run.step)));
}

/// Which rank the others waited for most, where ranks can be missed.
std::string ranks_text(const History& history) {
  const Series* slowest = history.find("throughput/slowest_rank");
  if (!slowest || slowest->values.empty()) return "";
  std::map<int64_t, size_t> times;
  const size_t count = std::min(slowest->values.size(), kLatest);
  for (const double rank : std::span(slowest->values).last(count))
    if (std::isfinite(rank)) ++times[static_cast<int64_t>(rank)];
  if (times.empty()) return "";
  const auto most = std::max_element(
      times.begin(), times.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const double share = latest(history, "throughput/waited_share");
  return cat("rank ", most->first, " came last in ", most->second, " of the last ", count, " steps",
             std::isnan(share)
                 ? ""
                 : cat("; ranks wait ", format_fixed(100 * share, 1), " % of the time"));
}

}  // namespace

std::vector<std::string> draw_curve(const Series& series, size_t columns, size_t rows) {
  const Buckets points = bucket(series, 2 * columns);
  double low = INFINITY, high = -INFINITY;
  for (size_t i = 0; i < points.size(); ++i) {
    low = std::fmin(low, points.low[i]);
    high = std::fmax(high, points.high[i]);
  }
  std::vector<std::string> lines(rows, std::string(kAxis, ' '));
  if (!(low <= high) || columns == 0 || rows == 0) return lines;
  std::vector<std::vector<unsigned>> dots(rows, std::vector<unsigned>(columns, 0));
  const double span = high > low ? high - low : 1;
  const auto level = [&](double value) {  // counted from the top
    return static_cast<size_t>(
        std::lround((high - value) / span * static_cast<double>(4 * rows - 1)));
  };
  for (size_t i = 0; i < points.size(); ++i) {
    if (std::isnan(points.mean[i])) continue;
    const size_t x = i * 2 * columns / points.size();
    for (size_t y = level(points.high[i]); y <= level(points.low[i]); ++y)
      dots[y / 4][x / 2] |= dot(x % 2, y % 4);
  }
  lines.front() = axis_text(high);
  lines.back() = axis_text(low);
  for (size_t row = 0; row < rows; ++row)
    for (const unsigned set : dots[row]) lines[row] += braille(set);
  return lines;
}

std::vector<std::string> live_view(const RunLine& run, const History& history, size_t columns) {
  const auto fixed = [](std::string_view name, double value, int digits) {
    return std::isfinite(value) ? cat("  ", name, " ", format_fixed(value, digits)) : "";
  };
  std::vector<std::string> lines;
  const bool is_told = history.lines > 0 || run.step > 0;  // of any step
  std::string first = cat(run.id, "  ", run.state.empty() ? "state unknown" : run.state);
  if (is_told) first += cat("  step ", format_count(run.step));
  if (is_told && run.total_steps > 0)
    first += cat(
        " of ", format_count(run.total_steps), ", ",
        format_fixed(100 * static_cast<double>(run.step) / static_cast<double>(run.total_steps), 1),
        "%");
  lines.push_back(first + time_left(run, history));
  std::string second = fixed("loss", run.loss, 4) + fixed("best", run.best_loss, 4);
  if (run.best_step > 0) second += cat(" at step ", format_count(run.best_step));
  const double rate = latest(history, "throughput/tokens_per_second");
  if (std::isfinite(rate)) second += cat("  ", format_count(std::llround(rate)), " tokens/s");
  if (const std::string mfu = fixed("MFU", latest(history, "throughput/mfu"), 1); !mfu.empty())
    second += mfu + " %";
  if (!second.empty()) lines.emplace_back(trim(second));
  if (const std::string ranks = ranks_text(history); !ranks.empty()) lines.push_back(ranks);
  if (!is_told) lines.emplace_back("no step in metrics.jsonl, which the tracker jsonl writes");
  for (std::string& line : lines) line.resize(std::min(line.size(), columns));
  if (const Series* loss = history.find("train/loss"); loss && columns > 2 * kAxis)
    for (std::string& line : draw_curve(*loss, columns - kAxis - 1, kRows))
      lines.push_back(std::move(line));
  return lines;
}

}  // namespace levanter::report
