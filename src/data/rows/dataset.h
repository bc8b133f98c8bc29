// Datasets: functions from an index to a value, asked for in batches and answered by a future.
#pragma once

#include <cstdint>
#include <future>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace levanter::data {

/// The length of a dataset that never ends.
inline constexpr int64_t kEndless = std::numeric_limits<int64_t>::max();

/// A sequence of T's. Element i is a pure function of i: it does not depend on what was asked
/// before, so that reading can begin anywhere. Const functions may be called from any thread. A
/// future may hold an exception instead of its value, and must not outlive the dataset.
template <class T>
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// The elements at `indices`, in that order; indices are in [0, length). The span may end with
  /// the call.
  virtual std::future<std::vector<T>> get_batch(std::span<const int64_t> indices) const = 0;
  /// The number of elements, or kEndless; a dataset that is still being counted answers later.
  virtual std::future<int64_t> length() const = 0;
};

template <class T>
using DatasetPtr = std::shared_ptr<const Dataset<T>>;

/// A future that has its value already.
template <class T>
std::future<T> ready(T value) {
  std::promise<T> promise;
  promise.set_value(std::move(value));
  return promise.get_future();
}

/// A future of fn(value of `future`); fn runs in the thread that asks for the result.
template <class T, class Fn>
auto then(std::future<T> future, Fn fn) {
  return std::async(
      std::launch::deferred,
      [future = std::move(future), fn = std::move(fn)]() mutable { return fn(future.get()); });
}

/// The synchronous face of a dataset: every call waits.
template <class T>
class SyncDataset final {
 public:
  explicit SyncDataset(DatasetPtr<T> source) : source_(std::move(source)) {}

  T operator[](int64_t index) const {
    return std::move(source_->get_batch(std::span(&index, 1)).get().front());
  }
  std::vector<T> get_batch(std::span<const int64_t> indices) const {
    return source_->get_batch(indices).get();
  }
  int64_t size() const { return source_->length().get(); }

 private:
  DatasetPtr<T> source_;
};

}  // namespace levanter::data
