// Histograms against plain counting.
#include "train/watch/histogram.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

#include "base/random.h"

using namespace levanter;
using train::histogram_limits;
using train::histogram_of;

namespace {

std::vector<float> normal_values(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  fill_normal(key_from_seed(seed), 0, values);
  return values;
}

/// Each value looked for among the limits, one after the other.
std::vector<int64_t> counted(std::span<const float> values, std::span<const double> limits) {
  std::vector<int64_t> counts(Histogram::kBins);
  for (const float x : values) {
    if (!std::isfinite(x)) continue;
    size_t bin = 0;
    while (bin + 1 < Histogram::kBins && x >= limits[bin + 1]) ++bin;
    ++counts[bin];
  }
  return counts;
}

}  // namespace

TEST_CASE("a histogram counts each value between its limits, on any number of threads", "[train]") {
  for (const size_t count : {size_t{1}, size_t{2}, size_t{31}, size_t{1000}, size_t{100003}}) {
    INFO(count << " values");
    const std::vector<float> values = normal_values(count, 3);
    ThreadPool one(1), three(3);
    const Histogram h = histogram_of(values, one);
    CHECK(h.count == static_cast<int64_t>(count));
    CHECK(h.limits == histogram_limits(h.min, h.max));
    CHECK(h.counts == counted(values, h.limits));
    double sum = 0, squares = 0;
    float low = values[0], high = values[0];
    for (const float x : values) {
      sum += x;
      squares += static_cast<double>(x) * static_cast<double>(x);
      low = std::min(low, x);
      high = std::max(high, x);
    }
    constexpr double kOrderOfSums = 1e-12;  // the same numbers added in pieces
    CHECK(h.min == static_cast<double>(low));
    CHECK(h.max == static_cast<double>(high));
    CHECK(h.sum == Approx(sum).epsilon(kOrderOfSums).margin(1e-9));
    CHECK(h.sum_squares == Approx(squares).epsilon(kOrderOfSums));
    const Histogram other = histogram_of(values, three);
    CHECK(other.counts == h.counts);
    CHECK(other.sum == h.sum);
    CHECK(other.sum_squares == h.sum_squares);
  }
}

TEST_CASE("a histogram leaves out what is not finite, and has room for equal values", "[train]") {
  ThreadPool pool(2);
  const float inf = std::numeric_limits<float>::infinity();
  const Histogram mixed = histogram_of(std::vector<float>{1, inf, 2, -inf, NAN, 4}, pool);
  CHECK(mixed.count == 3);
  CHECK(mixed.min == 1);
  CHECK(mixed.max == 4);
  CHECK(mixed.counts.front() == 1);
  CHECK(mixed.counts.back() == 1);
  const Histogram equal = histogram_of(std::vector<float>(10, 3.0f), pool);
  CHECK(equal.limits.front() == 2.5);
  CHECK(equal.limits.back() == 3.5);
  CHECK(equal.counts[Histogram::kBins / 2] == 10);
  CHECK(histogram_of(std::vector<float>{inf, NAN}, pool).count == 0);
  CHECK(histogram_of({}, pool).count == 0);
}
