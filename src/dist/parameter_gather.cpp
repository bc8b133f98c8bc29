// Brings parameters from the ranks that own them to all, while those go on computing.
#include "dist/parameter_gather.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/threads.h"
#include "device/ranges.h"
#include "device/tracing.h"
#include "dist/watch.h"

namespace levanter::dist {

ParameterGather::ParameterGather(Communicator& communicator, Owners owners)
    : communicator_(communicator), owners_(std::move(owners)) {
  thread_ = start_thread([this] { work(); });
}

ParameterGather::~ParameterGather() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ParameterGather::start(const Gather& gather, const void* const* held, void* const* whole) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({&gather, held, whole});
  }
  changed_.notify_all();
}

void ParameterGather::finish() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return done_ > 0 || failure_; });
  if (done_ == 0) std::rethrow_exception(failure_);
  --done_;
  if (Watch* const watch = communicator_.watch())
    watch->add_waited(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

void ParameterGather::work() {
  name_thread("parameters of other ranks");
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ends_ || !jobs_.empty(); });
    if (jobs_.empty() || failure_) return;
    const Job job = jobs_.front();
    lock.unlock();
    std::exception_ptr failure;
    try {
      const Range range("gather parameters");
      exchange(job);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    jobs_.pop_front();
    failure_ = failure;
    if (!failure) ++done_;
    changed_.notify_all();
  }
}

/// One exchange takes an array of each owner, until none has another.
void ParameterGather::exchange(const Job& job) {
  const auto ranks = static_cast<size_t>(communicator_.size());
  const auto me = static_cast<size_t>(communicator_.rank());
  std::vector<std::vector<size_t>> of_owner(ranks);
  for (size_t i = 0; i < job.gather->names.size(); ++i)
    of_owner[static_cast<size_t>(owners_.at(job.gather->names[i]))].push_back(i);
  for (const size_t i : of_owner[me]) std::memcpy(job.whole[i], job.held[i], job.gather->bytes[i]);
  size_t rounds = 0;
  for (const auto& arrays : of_owner) rounds = std::max(rounds, arrays.size());
  std::vector<Sent> send(ranks);
  std::vector<Received> receive(ranks);
  for (size_t round = 0; round < rounds; ++round) {
    for (size_t r = 0; r < ranks; ++r) {
      send[r] = {};
      receive[r] = {};
      if (r == me) continue;
      if (round < of_owner[me].size()) {
        const size_t i = of_owner[me][round];
        send[r] = {static_cast<const std::byte*>(job.held[i]), job.gather->bytes[i]};
      }
      if (round < of_owner[r].size()) {
        const size_t i = of_owner[r][round];
        receive[r] = {static_cast<std::byte*>(job.whole[i]), job.gather->bytes[i]};
      }
    }
    communicator_.exchange(send, receive);
  }
}

}  // namespace levanter::dist
