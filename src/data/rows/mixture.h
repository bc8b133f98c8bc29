// Mixtures: several datasets in shares that hold exactly, block by block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "data/rows/combinators.h"
#include "data/rows/dataset.h"

namespace levanter::data {

/// When a mixture ends.
enum class StopStrategy {
  kRestart,         ///< never: a set that is through begins anew
  kFirstExhausted,  ///< before a set would begin anew
  kAllExhausted,    ///< as soon as every set has been seen once
};

/// The shares from an index of the mixture on.
struct MixtureStage {
  int64_t first_index = 0;      ///< a multiple of the block size; 0 in the first stage
  std::vector<double> weights;  ///< one for each set, >= 0, not all 0; only their ratios count
};

/// Which element of which set stands where in a mixture. Each block of block_size elements holds
/// floor or ceil of weight * block_size elements of every set, and over any number of blocks from
/// the stage's first the count of a set stays within 1 of its share, but for a period's end: shares
/// are exact over kPeriod blocks rounded to whole elements. Sets are interleaved inside a block in
/// an order that the key and the block decide. A set's elements are taken in order, from stage to
/// stage. All of it is a function of the index: nothing is remembered.
class MixturePlan final {
 public:
  static constexpr int64_t kPeriod = 1024;  ///< blocks

  using Place = detail::Place;

  /// error  kConfig for weights that are negative, not finite or all 0, or a stage that does not
  ///        begin with a block
  MixturePlan(std::vector<MixtureStage> stages, int64_t sources, int64_t block_size, Key key);

  int64_t block_size() const { return block_size_; }
  Place place(int64_t index) const;
  /// Elements of each set before the block that `index`, a multiple of block_size, begins.
  std::vector<int64_t> counts_before(int64_t index) const;
  /// The length of a mixture of sets of these lengths: kEndless for kRestart.
  int64_t length(StopStrategy stop, const std::vector<int64_t>& lengths) const;
  /// The stage that holds `index`.
  size_t stage_of(int64_t index) const;
  const std::vector<MixtureStage>& stages() const { return stages_; }

 private:
  /// [kPeriod + 1, sources]: elements before each block of a period.
  using Quotas = std::vector<int64_t>;

  Quotas quotas_of(const std::vector<double>& weights) const;
  /// The number of elements of each set before a block, counted from the stage's first.
  int64_t count(size_t stage, int64_t block, int64_t source) const;
  bool fits(int64_t index, StopStrategy stop, const std::vector<int64_t>& lengths) const;

  std::vector<MixtureStage> stages_;
  int64_t sources_, block_size_;
  Key key_;
  std::vector<Quotas> quotas_;
  std::vector<std::vector<int64_t>> begun_;  ///< for each stage, elements of each set before it
};

/// The mixture of the plan, `length` elements of it (see MixturePlan::length). Sources must be as
/// long as it reaches: endless ones for kRestart.
template <class T>
DatasetPtr<T> mixture(std::vector<DatasetPtr<T>> sources, std::shared_ptr<const MixturePlan> plan,
                      int64_t length) {
  return detail::scattered<T>(
      length, [plan = std::move(plan)](int64_t index) { return plan->place(index); },
      std::move(sources));
}

}  // namespace levanter::data
