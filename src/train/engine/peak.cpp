// Measures the machine's rate of matrix products, and remembers it in a file.
#include "train/engine/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <new>
#include <nlohmann/json.hpp>

#include "base/bf16.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "ops/ops.h"
#include "passes/passes.h"
#include "device/transfer.h"
#include "runtime/executable.h"

namespace levanter::train {

namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Writes small integers, which are exact in every type.
void fill(const Backend& backend, std::byte* to, DType dtype, int64_t count) {
  HostWrite place(backend, to, static_cast<size_t>(count * size_of(dtype)));
  std::byte* const at = place.bytes().data();
  for (int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(i % 7 - 3);
    if (dtype == DType::bf16)
      reinterpret_cast<Bf16*>(at)[i] = value;
    else
      reinterpret_cast<float*>(at)[i] = value;
  }
  place.done();
}

/// The best GFLOP/s of one product's runs in about `seconds`, of at least two.
double product_rate(const Backend& backend, DType dtype, const ProductSize& size, double seconds) {
  const Axis m{"m", size.m}, k{"k", size.k}, n{"n", size.n};
  Function f("product");
  const NamedArray a = f.argument("a", {dtype, {m, k}});
  const NamedArray b = f.argument("b", {dtype, {k, n}});
  f.result("c", dot(a, b, {m, n}));
  Executable e = compile(optimise(f, backend), backend);
  const auto left = backend.allocate(size.m * size.k * size_of(dtype));
  const auto right = backend.allocate(size.k * size.n * size_of(dtype));
  const auto out = backend.allocate(size.m * size.n * 4);
  const auto arena = backend.allocate(e.arena_bytes());
  const auto workspace = backend.allocate(e.workspace_bytes());
  fill(backend, left->data(), dtype, size.m * size.k);
  fill(backend, right->data(), dtype, size.k * size.n);
  std::byte* const arguments[] = {left->data(), right->data()};
  std::byte* const results[] = {out->data()};
  e.bind(arena->data(), workspace->data(), arguments, results);
  e.run();
  backend.synchronize();
  double best = 1e30;
  const double end = now_seconds() + seconds;
  do {
    const double start = now_seconds();
    e.run();
    backend.synchronize();
    best = std::min(best, now_seconds() - start);
  } while (now_seconds() < end);
  return size.flops() / best / 1e9;
}

/// What the rate belongs to: processor, device, type, threads.
std::string machine_key(const Backend& backend, DType dtype) {
  return cat(backend.device_name(), "; ", backend.numerics_signature(dtype), "; ", name_of(dtype),
             "; ", backend.threads(), " threads");
}

}  // namespace

std::vector<ProductSize> standard_products(const Backend& backend) {
  const int64_t side = backend.product_side(), half = side / 2;
  return {{half, half, half}, {side, side, side}};
}

std::vector<ProductSize> model_products(const std::vector<nn::Param>& params, int64_t tokens) {
  std::vector<ProductSize> sizes;
  for (const nn::Param& p : params) {
    const bool head = p.type.axes.contains("vocab");  // [vocab, embed], an embedding where tied
    if (p.shape.size() != 2 || !(head || p.role == nn::Role::kWeight)) continue;
    ProductSize size{tokens, p.shape[head ? 0 : 1], p.shape[head ? 1 : 0]};
    const double flops_a_token = size.flops() / static_cast<double>(tokens);
    size.m = std::clamp(static_cast<int64_t>(kMostFlops / flops_a_token), int64_t{1}, tokens);
    const auto same = [&](const ProductSize& s) {
      return s.m == size.m && s.n == size.n && s.k == size.k;
    };
    if (std::none_of(sizes.begin(), sizes.end(), same)) sizes.push_back(size);
  }
  return sizes;
}

std::vector<ProductRate> measure_products(const Backend& backend, DType dtype,
                                          std::span<const ProductSize> sizes, double seconds) {
  std::vector<ProductRate> rates;
  for (const ProductSize& size : sizes)
    rates.push_back(
        {size, product_rate(backend, dtype, size, seconds / static_cast<double>(sizes.size()))});
  return rates;
}

double best_rate(std::span<const ProductRate> rates) {
  double best = 0;
  for (const ProductRate& rate : rates) best = std::max(best, rate.gflops_per_second);
  return best;
}

std::string peak_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && *cache) return join_path(cache, "levanter/peak.json");
  return home && *home ? join_path(home, ".cache/levanter/peak.json") : "";
}

namespace {

/// A machine may be busy with something else while it is measured, so its first runs measure it
/// each, and the best counts.
constexpr size_t kMeasurements = 3;

/// The object in the file of peaks; an empty one where there is none, or a damaged one.
nlohmann::json known_peaks(const std::string& file) {
  try {
    if (!file.empty() && path_exists(file)) {
      nlohmann::json known = nlohmann::json::parse(read_file(file));
      if (known.is_object()) return known;
    }
  } catch (const std::exception&) {  // measured again
  }
  return nlohmann::json::object();
}

/// What has been measured of a machine.
std::vector<double> measured(const nlohmann::json& known, const std::string& key) {
  std::vector<double> rates;
  const auto found = known.find(key);
  if (found == known.end()) return rates;
  for (const nlohmann::json& rate : *found)  // a number alone is a list of one
    if (rate.is_number() && rate > 0) rates.push_back(rate);
  return rates;
}

}  // namespace

std::optional<double> known_peak(const Backend& backend, DType dtype) {
  const std::vector<double> rates = measured(known_peaks(peak_file()), machine_key(backend, dtype));
  if (rates.empty()) return std::nullopt;
  return *std::max_element(rates.begin(), rates.end());
}

double machine_peak(const Backend& backend, DType dtype) {
  const std::string key = machine_key(backend, dtype), file = peak_file();
  nlohmann::json known = known_peaks(file);
  std::vector<double> rates = measured(known, key);
  try {
    if (rates.size() < kMeasurements) {
      rates.push_back(best_rate(measure_products(backend, dtype, standard_products(backend), 0.3)));
      known[key] = rates;
      if (!file.empty()) {
        make_directories(parent_path(file));
        write_file_atomic(file, known.dump(2) + "\n");
      }
    }
  } catch (const std::bad_alloc&) {
    // A run needs no peak.
  } catch (const Error& error) {
    // No more memory of the device, or a file that cannot be written.
    if (error.kind() != ErrorKind::kDevice && error.kind() != ErrorKind::kIo) throw;
  }
  if (rates.empty()) return 0;
  return *std::max_element(rates.begin(), rates.end());
}

}  // namespace levanter::train
