// How the values of an array are spread.
#pragma once

#include <span>

#include "base/threads.h"
#include "trackers/tracker.h"

namespace levanter::train {

/// The limits of Histogram::kBins bins of equal width between `min` and `max`, as numpy's: where
/// these are equal, half below and half above.
std::vector<double> histogram_limits(double min, double max);

/// Of the finite values, as numpy.histogram(values, bins=31) counts. The sums are added in f64 in
/// pieces whose number depends on that of the values alone: any number of threads gives the same.
Histogram histogram_of(std::span<const float> values, ThreadPool& pool);

}  // namespace levanter::train
