#include "infer/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace levanter::infer {

int32_t sample(std::span<const float> logits, const SamplingOptions& options, Key key,
               uint64_t index) {
  for (const float logit : logits)
    if (std::isnan(logit) || logit == std::numeric_limits<float>::infinity())
      throw Error(ErrorKind::kGuard, "the model's logits are not numbers")
          .hint("its training has diverged; an earlier checkpoint may be good");
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  if (options.temperature == 0) return *std::min_element(order.begin(), order.end(), before);
  std::sort(order.begin(), order.end(), before);
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < order.size())
    order.resize(static_cast<size_t>(options.top_k));
  std::vector<double> weight;
  double total = 0;
  const double top = logits[static_cast<size_t>(order[0])];
  for (const int32_t id : order) {
    weight.push_back(std::exp((logits[static_cast<size_t>(id)] - top) / options.temperature));
    total += weight.back();
  }
  if (options.top_p < 1) {
    double reached = 0;
    size_t kept = 0;
    while (kept < weight.size() && (kept == 0 || reached < options.top_p * total))
      reached += weight[kept++];
    weight.resize(kept);
    total = reached;
  }
  double left = uniform(key, index, 0, 1) * total;
  for (size_t i = 0; i + 1 < weight.size(); ++i) {
    left -= weight[i];
    if (left < 0) return order[i];
  }
  return order[weight.size() - 1];
}

}  // namespace levanter::infer
