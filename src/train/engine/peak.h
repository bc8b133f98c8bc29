// The machine's own rate of matrix products: what MFU and the benchmarks are fractions of.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/backend.h"
#include "nn/scope.h"

namespace levanter::train {

/// C[m, n] = sum over k of A[m, k] B[k, n].
struct ProductSize {
  int64_t m = 0, n = 0, k = 0;
  double flops() const {
    return 2 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

/// Squares of the backend's product_side and of half of it: 1024^3 and 2048^3 on a processor.
std::vector<ProductSize> standard_products(const Backend& backend);

/// The products of a model's linear layers and its head with `tokens` tokens, each size once: m
/// tokens, n out, k in. Of a product above kMostFlops only as many tokens as stay below it.
std::vector<ProductSize> model_products(const std::vector<nn::Param>& params, int64_t tokens);
inline constexpr double kMostFlops = 2e10;

struct ProductRate {
  ProductSize size;
  double gflops_per_second = 0;
};

/// The rates of products with factors of `dtype`, f32 or bf16, and an f32 result, with all of the
/// backend's threads: of each size the best of runs that take about `seconds` together.
std::vector<ProductRate> measure_products(const Backend& backend, DType dtype,
                                          std::span<const ProductSize> sizes, double seconds);

/// The best of them, in GFLOP/s; 0 for none.
double best_rate(std::span<const ProductRate> rates);

/// The best rate of standard_products with factors of `dtype` in GFLOP/s, as the machine's first
/// three runs measure it, each once: kept in the file that peak_file names, per device, processor,
/// dtype and number of threads. 0 where there is no memory to measure it.
double machine_peak(const Backend& backend, DType dtype = DType::f32);

/// What machine_peak has measured before and kept.
std::optional<double> known_peak(const Backend& backend, DType dtype = DType::f32);

/// <XDG_CACHE_HOME or ~/.cache>/levanter/peak.json; "" without a home. One object, lists of
/// rates by what they belong to; a file that is damaged or cannot be written is measured past.
std::string peak_file();

}  // namespace levanter::train
