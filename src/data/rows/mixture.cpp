// Mixtures: several datasets in shares that hold exactly, block by block.
#include "data/rows/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/strings.h"
#include "data/rows/permutation.h"

namespace levanter::data {
namespace {

void require_weights(const std::vector<double>& weights, int64_t sources) {
  LEV_CHECK(static_cast<int64_t>(weights.size()) == sources, "a mixture has a weight for each set");
  double total = 0;
  for (const double weight : weights) {
    if (!(weight >= 0) || !std::isfinite(weight))
      throw Error(ErrorKind::kConfig, cat("a mixture's weight is ", weight))
          .allowed("0 or more, and finite");
    total += weight;
  }
  if (!(total > 0) || !std::isfinite(total))
    throw Error(ErrorKind::kConfig, "the weights of a mixture are all 0")
        .at("data.train_weights")
        .allowed("one above 0");
}

}  // namespace

MixturePlan::MixturePlan(std::vector<MixtureStage> stages, int64_t sources, int64_t block_size,
                         Key key)
    : stages_(std::move(stages)), sources_(sources), block_size_(block_size), key_(key) {
  LEV_CHECK(block_size >= 1 && sources >= 1 && !stages_.empty(), "a mixture of something");
  LEV_CHECK(stages_.front().first_index == 0, "the first stage begins at 0");
  for (size_t s = 0; s < stages_.size(); ++s) {
    require_weights(stages_[s].weights, sources);
    const int64_t first = stages_[s].first_index;
    if (first % block_size != 0)
      throw Error(ErrorKind::kConfig, cat("a stage of the mixture begins at sequence ", first,
                                          ", inside a block of ", block_size))
          .allowed(cat("multiples of ", block_size, ", such as ", first / block_size * block_size));
    LEV_CHECK(s == 0 || first > stages_[s - 1].first_index, "stages come one after the other");
    begun_.push_back(s == 0 ? std::vector<int64_t>(static_cast<size_t>(sources))
                            : counts_before(first));
    quotas_.push_back(quotas_of(stages_[s].weights));
  }
}

// Every block gives a set floor(weight * block_size); the slots left over go to the sets that are
// furthest behind their shares since the period began.
MixturePlan::Quotas MixturePlan::quotas_of(const std::vector<double>& weights) const {
  const auto n = static_cast<size_t>(sources_);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> given(n);
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  Quotas quotas = given;
  for (int64_t block = 1; block <= kPeriod; ++block) {
    std::vector<double> behind(n);
    int64_t left = block_size_;
    for (size_t i = 0; i < n; ++i) {
      const double share = weights[i] / total * static_cast<double>(block_size_);
      const auto whole = std::min(left, static_cast<int64_t>(share));
      given[i] += whole;
      left -= whole;
      behind[i] = weights[i] == 0
                      ? -1e300
                      : share * static_cast<double>(block) - static_cast<double>(given[i]);
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return behind[a] != behind[b] ? behind[a] > behind[b] : a < b;
    });
    for (size_t i = 0; left > 0; i = (i + 1) % n, --left) ++given[order[i]];
    quotas.insert(quotas.end(), given.begin(), given.end());
  }
  return quotas;
}

int64_t MixturePlan::count(size_t stage, int64_t block, int64_t source) const {
  const Quotas& before = quotas_[stage];
  const auto at = [&](int64_t b) { return before[static_cast<size_t>(b * sources_ + source)]; };
  return block / kPeriod * at(kPeriod) + at(block % kPeriod);
}

size_t MixturePlan::stage_of(int64_t index) const {
  size_t stage = stages_.size() - 1;
  while (stages_[stage].first_index > index) --stage;
  return stage;
}

std::vector<int64_t> MixturePlan::counts_before(int64_t index) const {
  // Before `index` the last stage that has quotas: the constructor asks for a stage's beginning.
  size_t stage = std::min(stage_of(std::max<int64_t>(0, index - 1)), quotas_.size() - 1);
  const int64_t block = (index - stages_[stage].first_index) / block_size_;
  std::vector<int64_t> counts(static_cast<size_t>(sources_));
  for (size_t i = 0; i < counts.size(); ++i)
    counts[i] = begun_[stage][i] + count(stage, block, static_cast<int64_t>(i));
  return counts;
}

MixturePlan::Place MixturePlan::place(int64_t index) const {
  LEV_CHECK(index >= 0, "an index is outside the mixture");
  const size_t stage = stage_of(index);
  const int64_t first = stages_[stage].first_index, block = (index - first) / block_size_;
  const int64_t number = index / block_size_;
  const Key key = fold_in(fold_in(key_, static_cast<uint32_t>(number)),
                          static_cast<uint32_t>(static_cast<uint64_t>(number) >> 32));
  int64_t slot = Permutation(key, block_size_)(index % block_size_);
  for (int64_t source = 0; source < sources_; ++source) {
    const int64_t before = count(stage, block, source);
    const int64_t quota = count(stage, block + 1, source) - before;
    if (slot < quota) return {source, begun_[stage][static_cast<size_t>(source)] + before + slot};
    slot -= quota;
  }
  LEV_CHECK(false, "a block's quotas add up to its size");
}

bool MixturePlan::fits(int64_t index, StopStrategy stop,
                       const std::vector<int64_t>& lengths) const {
  const std::vector<int64_t> counts = counts_before(index);
  bool all = true, any = false;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (stop == StopStrategy::kFirstExhausted && counts[i] > lengths[i]) return false;
    const bool through = counts[i] >= lengths[i];
    all = all && (through || stages_.back().weights[i] == 0);
    any = any || through;
  }
  return stop == StopStrategy::kFirstExhausted || !all;
}

int64_t MixturePlan::length(StopStrategy stop, const std::vector<int64_t>& lengths) const {
  if (stop == StopStrategy::kRestart) return kEndless;
  // In whole blocks: the largest number of which `fits` says yes, plus one block for kAllExhausted,
  // in which the last set is through.
  int64_t low = 0, high = 1;
  while (fits(high * block_size_, stop, lengths)) high *= 2;
  while (low + 1 < high) {
    const int64_t middle = low + (high - low) / 2;
    int64_t& bound = fits(middle * block_size_, stop, lengths) ? low : high;
    bound = middle;
  }
  return (stop == StopStrategy::kAllExhausted ? high : low) * block_size_;
}

}  // namespace levanter::data
