// The sum of gradients over ranks, begun while the last microbatch still computes them.
#include "train/engine/overlapped_sum.h"

#include <algorithm>
#include <chrono>

#include "base/threads.h"
#include "device/ranges.h"
#include "device/tracing.h"

namespace levanter::train {

namespace {
constexpr int64_t kSmallest = 1 << 10, kLargest = 1 << 20;  // elements of a bucket
}  // namespace

OverlappedSum::OverlappedSum(Engine& engine, dist::GradientSum& sum) : engine_(engine), sum_(sum) {
  const FlatLayout& layout = engine.step().layout;
  const int64_t least = std::clamp(layout.elements / 16, kSmallest, kLargest);
  std::vector<int64_t> begins;  // of the results: what is trained, then the reports
  for (size_t i = 0; i < engine.step().params.size(); ++i)
    if (engine.step().params[i].trainable) begins.push_back(layout.offsets[i]);
  for (size_t i = 0; i < layout.reported.size(); ++i) begins.push_back(layout.offset_of(i));
  bucket_of_.resize(begins.size());
  int64_t end = layout.elements;
  for (size_t i = begins.size(); i-- > 0;) {
    if (buckets_.empty() || buckets_.back().part.size() >= least) buckets_.push_back({{end, end}});
    buckets_.back().part.begin = end = begins[i];
    ++buckets_.back().results;
    bucket_of_[i] = buckets_.size() - 1;
  }
  ready_ = summed_ = buckets_.size();
  thread_ = start_thread([this] { work(); });
}

OverlappedSum::~OverlappedSum() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void OverlappedSum::begin() {
  const std::lock_guard lock(mutex_);
  for (Bucket& bucket : buckets_) bucket.missing = bucket.results;
  ready_ = summed_ = 0;
}

void OverlappedSum::ready(size_t result) {
  if (result >= bucket_of_.size()) return;  // is watched, and of no sum
  if (--buckets_[bucket_of_[result]].missing > 0) return;
  {
    const std::lock_guard lock(mutex_);
    while (ready_ < buckets_.size() && buckets_[ready_].missing == 0) ++ready_;
  }
  changed_.notify_all();
}

double OverlappedSum::finish() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return summed_ == buckets_.size() || failure_; });
  if (failure_) std::rethrow_exception(failure_);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void OverlappedSum::work() {
  name_thread("sum over ranks");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ends_ || summed_ < ready_; });
    if (ends_) return;
    const dist::Shard part = buckets_[summed_].part;
    lock.unlock();
    std::exception_ptr failure;
    try {
      const Range range("sum gradients");
      engine_.finish_part(part);
      sum_.reduce(engine_.subtree_sums(), engine_.total(), part, /*beside_kernels=*/true);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    ++summed_;
    failure_ = failure;
    changed_.notify_all();
    if (failure) return;
  }
}

}  // namespace levanter::train
