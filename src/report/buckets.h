// A long series as few points as a picture has room for, its extremes kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "report/history.h"

namespace levanter::report {

/// Points in the order of their steps. Each stands for the steps `from` to `to`; low and high are
/// the extremes of their values, mean is their mean. NaN where no value of a bucket was a number.
struct Buckets {
  std::vector<int64_t> from, to;
  std::vector<double> low, high, mean;

  size_t size() const { return from.size(); }
  /// Whether each point is one value of one step.
  bool is_exact() const { return from == to; }
};

/// At most `most` buckets, each as many steps wide as another; those without a value are left out.
/// A series of no more values than that stays as it is.
Buckets bucket(const Series& series, size_t most);

/// The step at which a loss rose most above the median of the steps before it.
struct Spike {
  int64_t step = -1;  ///< -1: there are too few steps
  double value = 0, median = 0;
  double times() const { return value / median; }
};
/// A rise that is worth a word, in medians.
inline constexpr double kSpikeTimes = 1.25;
/// Of `window` steps before it; at least an eighth of them have to be there. Medians that are not
/// above zero are passed over. The first of equal ones.
Spike worst_spike(const Series& loss, size_t window = 128);

}  // namespace levanter::report
