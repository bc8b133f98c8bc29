#include "train/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "ops/ops.h"
#include "passes/passes.h"
#include "runtime/executable.h"

namespace levanter::train {

namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The best GFLOP/s of n^3 products in about `seconds`.
double product_rate(const Backend& backend, int64_t n, double seconds) {
  const Axis m{"m", n}, k{"k", n}, columns{"n", n};
  Function f("product");
  const NamedArray a = f.argument("a", {DType::f32, {m, k}});
  const NamedArray b = f.argument("b", {DType::f32, {k, columns}});
  f.result("c", dot(a, b, {m, columns}));
  Executable e = compile(optimise(f, backend), backend);
  const int64_t bytes = n * n * 4;
  const auto memory = backend.allocate(3 * bytes);
  const auto workspace = backend.allocate(e.workspace_bytes());
  auto* values = reinterpret_cast<float*>(memory->data());
  for (int64_t i = 0; i < 2 * n * n; ++i) values[i] = static_cast<float>(i % 7) - 3;
  std::byte* const arguments[] = {memory->data(), memory->data() + bytes};
  std::byte* const results[] = {memory->data() + 2 * bytes};
  e.bind(nullptr, workspace->data(), arguments, results);
  e.run();
  double best = 1e30;
  const double end = now_seconds() + seconds;
  do {
    const double start = now_seconds();
    e.run();
    best = std::min(best, now_seconds() - start);
  } while (now_seconds() < end);
  const auto size = static_cast<double>(n);
  return 2 * size * size * size / best / 1e9;
}

/// What the rate belongs to: processor, device, threads.
std::string machine_key(const Backend& backend) {
  std::string model = "processor";
  if (path_exists("/proc/cpuinfo")) {
    const std::string text = read_file("/proc/cpuinfo");
    if (const size_t at = text.find("model name"); at != std::string::npos) {
      const size_t colon = text.find(':', at), end = text.find('\n', at);
      model = trim(std::string_view(text).substr(colon + 1, end - colon - 1));
    }
  }
  return cat(model, "; ", backend.numerics_signature(), "; ", backend.threads(), " threads");
}

}  // namespace

std::vector<ProductRate> measure_products(const Backend& backend, double seconds) {
  std::vector<ProductRate> rates;
  for (const int64_t n : {int64_t{1024}, int64_t{2048}})
    rates.push_back({n, n, n, product_rate(backend, n, seconds / 2)});
  return rates;
}

std::string peak_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && *cache) return join_path(cache, "levanter/peak.json");
  return home && *home ? join_path(home, ".cache/levanter/peak.json") : "";
}

double machine_peak(const Backend& backend) {
  const std::string key = machine_key(backend), file = peak_file();
  nlohmann::json known = nlohmann::json::object();
  try {
    if (!file.empty() && path_exists(file)) known = nlohmann::json::parse(read_file(file));
    if (!known.is_object()) known = nlohmann::json::object();
    if (known.contains(key)) return known[key].get<double>();
  } catch (const std::exception&) {
    known = nlohmann::json::object();  // a damaged cache is measured anew
  }
  double best = 0;
  for (const ProductRate& rate : measure_products(backend, 0.3))
    best = std::max(best, rate.gflops_per_second);
  try {
    known[key] = best;
    if (!file.empty()) {
      make_directories(parent_path(file));
      write_file_atomic(file, known.dump(2) + "\n");
    }
  } catch (const std::exception&) {
    // A cache that cannot be written is only slower.
  }
  return best;
}

}  // namespace levanter::train
