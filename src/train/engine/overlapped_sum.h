// The sum of gradients over ranks, begun while the last microbatch still computes them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "dist/gradient_sum.h"
#include "train/engine/engine.h"

namespace levanter::train {

/// Sums an array of gradients in buckets: whole parameters that lie together, the last ones first,
/// as the backward pass has them. Which bucket is summed when is the same on all ranks, so no bit
/// and no exchange depends on what is ready first. A thread of its own exchanges and adds; from
/// begin to finish nobody else may call the communicator.
class OverlappedSum final : public ResultListener {
 public:
  /// Both outlive this. A bucket has about a sixteenth of the array, or 4 MiB if that is less.
  OverlappedSum(Engine& engine, dist::GradientSum& sum);
  ~OverlappedSum() override;
  OverlappedSum(const OverlappedSum&) = delete;
  OverlappedSum& operator=(const OverlappedSum&) = delete;

  /// Before the last microbatch, which this then listens to.
  void begin();
  void ready(size_t result) override;
  /// Returns when the sum is there: this rank's shard of engine.total().
  /// returns  seconds that it has waited
  /// error    what an exchange has thrown
  double finish();

 private:
  struct Bucket {
    dist::Shard part;
    int64_t results = 0;  ///< of the microbatch
    int64_t missing = 0;  ///< of these, not yet there
  };
  void work();

  Engine& engine_;
  dist::GradientSum& sum_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;  ///< by result
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t ready_ = 0, summed_ = 0;  ///< buckets
  std::exception_ptr failure_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace levanter::train
