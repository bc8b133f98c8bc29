// From logits to the next token: penalty, temperature and filters, then greedy or a draw.
#include "infer/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace levanter::infer {

namespace {

void require_numbers(std::span<const float> logits) {
  for (const float logit : logits)
    if (!(logit < std::numeric_limits<float>::infinity()))
      throw Error(ErrorKind::kGuard, "the model's logits are not numbers")
          .hint("its training has diverged; an earlier checkpoint may be good");
}

std::vector<float> penalised(std::span<const float> logits, double penalty,
                             std::span<const int32_t> before) {
  std::vector<float> scores(logits.begin(), logits.end());
  for (const int32_t id : before) {
    const auto at = static_cast<size_t>(id);
    const float logit = logits[at], by = static_cast<float>(penalty);
    scores[at] = logit < 0 ? logit * by : logit / by;
  }
  return scores;
}

/// Whether a ranks after b: of equals the lower id comes first.
struct After {
  std::span<const float> scores;
  bool operator()(int32_t a, int32_t b) const {
    const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
    return x != y ? x < y : a > b;
  }
};

/// Tokens from the most probable one on, sorted no further than is asked for, with probabilities
/// relative to the first one's.
class Ranking {
 public:
  Ranking(std::span<const float> scores, double temperature)
      : scores_(scores), temperature_(temperature), heap_(scores.size()) {
    std::iota(heap_.begin(), heap_.end(), 0);
    std::make_heap(heap_.begin(), heap_.end(), After{scores_});
    largest_ = scores_[static_cast<size_t>(heap_[0])];
  }

  int32_t id(size_t rank) {
    for (; ranked_ <= rank; ++ranked_)  // the heap's end is the ranking, backwards
      std::pop_heap(heap_.begin(), heap_.end() - static_cast<std::ptrdiff_t>(ranked_),
                    After{scores_});
    return heap_[heap_.size() - 1 - rank];
  }
  double weight(size_t rank) { return weight_of(id(rank)); }
  double weight_of(int32_t id) const {
    return std::exp((scores_[static_cast<size_t>(id)] - largest_) / temperature_);
  }

 private:
  std::span<const float> scores_;
  double temperature_, largest_ = 0;
  std::vector<int32_t> heap_;
  size_t ranked_ = 0;
};

}  // namespace

int32_t sample(std::span<const float> logits, const SamplingOptions& options, Key key,
               uint64_t index, std::span<const int32_t> before) {
  require_numbers(logits);
  std::vector<float> changed;
  if (options.repetition_penalty != 1) {
    changed = penalised(logits, options.repetition_penalty, before);
    logits = changed;
  }
  if (options.temperature == 0)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  Ranking ranking(logits, options.temperature);
  size_t kept = logits.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<size_t>(options.top_k));
  double total = 0;
  if (kept < logits.size()) {
    for (size_t i = 0; i < kept; ++i) total += ranking.weight(i);
  } else {
    for (size_t id = 0; id < logits.size(); ++id)
      total += ranking.weight_of(static_cast<int32_t>(id));
  }
  if (options.top_p < 1 || options.min_p > 0) {
    const double enough = options.top_p < 1 ? options.top_p * total : 2 * total;
    const size_t most = kept;
    total = ranking.weight(0);
    for (kept = 1; kept < most; ++kept) {
      const double weight = ranking.weight(kept);
      if (total >= enough || weight < options.min_p) break;
      total += weight;
    }
  }
  double left = uniform(key, index, 0, 1) * total;
  int32_t token = ranking.id(0);
  for (size_t i = 0; i < kept && left >= 0; ++i) {
    const double weight = ranking.weight(i);
    if (weight == 0) break;  // rounding left a rest that belongs to none
    token = ranking.id(i);
    left -= weight;
  }
  return token;
}

float log_probability(std::span<const float> logits, int32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(logit - largest);
  return static_cast<float>(logits[static_cast<size_t>(id)] - largest - std::log(total));
}

}  // namespace levanter::infer
