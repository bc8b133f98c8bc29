// A long series as few points as a picture has room for.
#include "report/buckets.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

namespace levanter::report {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void add(Buckets& out, int64_t from, int64_t to, double low, double high, double mean) {
  out.from.push_back(from);
  out.to.push_back(to);
  out.low.push_back(low);
  out.high.push_back(high);
  out.mean.push_back(mean);
}

/// The values [begin, end) of a series as one point.
void add_bucket(Buckets& out, const Series& s, size_t begin, size_t end) {
  double low = kNone, high = kNone, sum = 0;
  int64_t count = 0;
  for (size_t i = begin; i < end; ++i) {
    const double value = s.values[i];
    if (!std::isfinite(value)) continue;
    low = std::fmin(low, value);  // of a NaN and a number the number
    high = std::fmax(high, value);
    sum += value;
    ++count;
  }
  add(out, s.steps[begin], s.steps[end - 1], low, high,
      count > 0 ? sum / static_cast<double>(count) : kNone);
}

}  // namespace

Buckets bucket(const Series& s, size_t most) {
  Buckets out;
  if (s.steps.empty()) return out;
  if (s.steps.size() <= most) {
    for (size_t i = 0; i < s.steps.size(); ++i) add_bucket(out, s, i, i + 1);
    return out;
  }
  const int64_t first = s.steps.front();
  const int64_t span = s.steps.back() - first + 1;
  const auto count = static_cast<int64_t>(most);
  const int64_t width = (span + count - 1) / count;
  for (size_t begin = 0; begin < s.steps.size();) {
    const int64_t index = (s.steps[begin] - first) / width;
    size_t end = begin + 1;
    while (end < s.steps.size() && (s.steps[end] - first) / width == index) ++end;
    add_bucket(out, s, begin, end);
    begin = end;
  }
  return out;
}

Spike worst_spike(const Series& loss, size_t window) {
  Spike worst;
  double most = 0;
  std::deque<double> order;    // the values of the window as they came
  std::vector<double> sorted;  // and by size
  for (size_t i = 0; i < loss.values.size(); ++i) {
    const double value = loss.values[i];
    if (!std::isfinite(value)) continue;
    if (sorted.size() >= std::max<size_t>(window / 8, 1)) {
      const double median = sorted[sorted.size() / 2];
      if (median > 0 && value / median > most) {
        most = value / median;
        worst = {loss.steps[i], value, median};
      }
    }
    order.push_back(value);
    sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), value), value);
    if (order.size() <= window) continue;
    sorted.erase(std::lower_bound(sorted.begin(), sorted.end(), order.front()));
    order.pop_front();
  }
  return worst;
}

}  // namespace levanter::report
