// The machine's own rate of matrix products: what MFU and the benchmarks are fractions of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/backend.h"

namespace levanter::train {

struct ProductRate {
  int64_t m = 0, n = 0, k = 0;
  double gflops_per_second = 0;
};

/// The rates of 1024^3 and 2048^3 products in f32 with all of the backend's threads: the best of
/// runs that take about `seconds` in all.
std::vector<ProductRate> measure_products(const Backend& backend, double seconds);

/// The best of measure_products in GFLOP/s, measured once a machine: kept in the file that
/// peak_file names, per device, processor and number of threads. 0 when it can be neither read nor
/// measured.
double machine_peak(const Backend& backend);

/// <XDG_CACHE_HOME or ~/.cache>/levanter/peak.json; "" without a home.
std::string peak_file();

}  // namespace levanter::train
