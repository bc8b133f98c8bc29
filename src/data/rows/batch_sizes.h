// How many examples the batch of each step has: stages of a run, then one size.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace levanter::data {

/// Steps before `until`, and after those of the stage before, have batches of `size` examples.
struct BatchStage {
  int64_t until = 0, size = 0;
};

/// Examples are taken one batch after the other, so where a batch begins is a function of its step
/// alone.
class BatchSizes final {
 public:
  /// `size` after the last stage; stages in increasing order of `until`.
  explicit BatchSizes(int64_t size = 0, std::vector<BatchStage> stages = {})
      : size_(size), stages_(std::move(stages)) {}

  int64_t of(int64_t step) const {
    for (const BatchStage& stage : stages_)
      if (step < stage.until) return stage.size;
    return size_;
  }
  /// Examples of all steps before this one: the first of its own.
  int64_t before(int64_t step) const {
    int64_t examples = 0, begin = 0;
    for (const BatchStage& stage : stages_) {
      if (step <= begin) return examples;
      const int64_t end = step < stage.until ? step : stage.until;
      examples += (end - begin) * stage.size;
      begin = end;
    }
    return step > begin ? examples + (step - begin) * size_ : examples;
  }
  /// Whole batches that so many examples fill.
  int64_t filled_by(int64_t examples) const {
    int64_t steps = 0;
    for (const BatchStage& stage : stages_) {
      const int64_t more = examples / stage.size;
      if (steps + more < stage.until) return steps + more;
      examples -= (stage.until - steps) * stage.size;
      steps = stage.until;
    }
    return steps + examples / size_;
  }

 private:
  int64_t size_;
  std::vector<BatchStage> stages_;
};

}  // namespace levanter::data
