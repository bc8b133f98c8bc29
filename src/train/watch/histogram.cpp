// How the values of an array are spread, in two passes over it: its ends and sums, then its bins.
#include "train/watch/histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/integers.h"

namespace levanter::train {

namespace {

constexpr size_t kPiece = size_t{1} << 15;
constexpr size_t kBins = Histogram::kBins;

struct Ends {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  double sum = 0, sum_squares = 0;
  int64_t count = 0;
};

Ends ends_of(std::span<const float> values) {
  Ends ends;
  for (const float x : values) {
    if (!std::isfinite(x)) continue;
    ends.min = std::min(ends.min, x);
    ends.max = std::max(ends.max, x);
    const auto wide = static_cast<double>(x);
    ends.sum += wide;
    ends.sum_squares += wide * wide;
    ++ends.count;
  }
  return ends;
}

using Counts = std::array<int64_t, kBins>;

/// The bin by multiplication is off by one at most, which its limits tell.
Counts counts_of(std::span<const float> values, std::span<const double> limits) {
  Counts counts{};
  const double begin = limits.front(), scale = kBins / (limits.back() - begin);
  for (const float x : values) {
    if (!std::isfinite(x)) continue;
    auto bin = static_cast<size_t>((static_cast<double>(x) - begin) * scale);
    bin = std::min(bin, kBins - 1);
    if (x < limits[bin])
      --bin;
    else if (bin + 1 < kBins && x >= limits[bin + 1])
      ++bin;
    ++counts[bin];
  }
  return counts;
}

}  // namespace

std::vector<double> histogram_limits(double min, double max) {
  if (min == max) {
    min -= 0.5;
    max += 0.5;
  }
  std::vector<double> limits(kBins + 1);
  const double width = (max - min) / kBins;
  for (size_t i = 0; i <= kBins; ++i) limits[i] = min + static_cast<double>(i) * width;
  limits[kBins] = max;
  return limits;
}

Histogram histogram_of(std::span<const float> values, ThreadPool& pool) {
  const auto pieces = ceil_div(std::ssize(values), static_cast<int64_t>(kPiece));
  const auto piece = [&](int64_t i) {
    const size_t begin = static_cast<size_t>(i) * kPiece;
    return values.subspan(begin, std::min(kPiece, values.size() - begin));
  };
  std::vector<Ends> ends(static_cast<size_t>(pieces));
  pool.parallel_for(pieces,
                    [&](int64_t i, int) { ends[static_cast<size_t>(i)] = ends_of(piece(i)); });
  Ends all;
  for (const Ends& e : ends) {
    all.min = std::min(all.min, e.min);
    all.max = std::max(all.max, e.max);
    all.sum += e.sum;
    all.sum_squares += e.sum_squares;
    all.count += e.count;
  }
  if (all.count == 0) return {};
  Histogram h{all.count, all.min, all.max, all.sum, all.sum_squares};
  h.limits = histogram_limits(h.min, h.max);
  h.counts.resize(kBins);
  std::vector<Counts> counts(static_cast<size_t>(pieces));
  pool.parallel_for(pieces, [&](int64_t i, int) {
    counts[static_cast<size_t>(i)] = counts_of(piece(i), h.limits);
  });
  for (const Counts& c : counts)
    for (size_t bin = 0; bin < kBins; ++bin) h.counts[bin] += c[bin];
  return h;
}

}  // namespace levanter::train
