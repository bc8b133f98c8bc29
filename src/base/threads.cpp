// The thread pool: one 64-bit state word that workers enter and leave, and words to sleep on.
#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/limits.h"
#include "base/strings.h"

namespace levanter {
namespace {

constexpr auto kSpin = std::chrono::microseconds(200);
constexpr int kPausesPerClock = 32;

int affinity_threads() {
  for (int processors = 1024; processors <= (1 << 20); processors *= 2) {
    cpu_set_t* set = CPU_ALLOC(processors);
    if (set == nullptr) return 1;
    const size_t bytes = CPU_ALLOC_SIZE(processors);
    const bool read = sched_getaffinity(0, bytes, set) == 0;
    const int count = read ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (read) return std::max(count, 1);
  }
  return 1;
}

/// Tells the processor that a loop only waits.
void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits until `ready()` for at most the spinning time; says whether it came true.
template <class Ready>
bool spin_until(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerClock; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace

int available_threads() {
  const int64_t limit = cgroup_thread_limit().value_or(INT_MAX);
  return static_cast<int>(std::min<int64_t>(affinity_threads(), limit));
}

void thread_refused(int running) {
  throw Error(ErrorKind::kDevice, cat("cannot start another thread; ", running + 1,
                                      running == 0 ? " is" : " are", " running"))
      .hint(
          "the limit of `ulimit -u`, of a control group's pids.max or of `ulimit -v` has been "
          "reached; trainer.threads = 1 needs fewer");
}

/// `state` holds how often a loop was opened (upper 32 bits), whether one is open (bit 31) and how
/// many workers are inside (the bits below). A worker that comes after the loop was closed stays
/// out, so the caller never waits for one that is asleep or not scheduled.
struct ThreadPool::Shared {
  static constexpr uint64_t kOpen = uint64_t{1} << 31;
  static constexpr uint64_t kInside = kOpen - 1;

  /// A worker's share of the indices.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  alignas(64) std::atomic<uint64_t> state{0};
  std::vector<Share> shares;
  alignas(64) std::atomic<uint32_t> opened{0};  ///< counts loops; workers sleep on it
  std::atomic<uint32_t> left{0};  ///< counts departures after closing; the caller sleeps on it
  std::atomic<bool> stop{false};
  std::atomic<bool> busy{false};
  bool spin = true;

  Call call = nullptr;
  void* body = nullptr;

  std::mutex failure_mutex;
  std::exception_ptr failure;
  std::atomic<int64_t> failure_index{INT64_MAX};  ///< the lowest so far
  std::vector<std::thread> crew;

  explicit Shared(int threads) : shares(static_cast<size_t>(threads)) {}

  /// Gives worker w the indices from w n / threads on.
  void share_out(int64_t n) {
    const auto threads = static_cast<int64_t>(shares.size());
    for (int64_t w = 0; w < threads; ++w) {
      Share& share = shares[static_cast<size_t>(w)];
      share.next.store(w * n / threads, std::memory_order_relaxed);
      share.end = (w + 1) * n / threads;
    }
  }

  /// Claims indices of the worker's own share, then of the others', until none is left.
  void claim(int worker) {
    for (size_t i = 0; i < shares.size(); ++i)
      claim_of(shares[(static_cast<size_t>(worker) + i) % shares.size()], worker);
  }

  void claim_of(Share& share, int worker) {
    for (int64_t i = share.next.fetch_add(1, std::memory_order_relaxed);
         i < share.end && i < failure_index.load(std::memory_order_relaxed);
         i = share.next.fetch_add(1, std::memory_order_relaxed)) {
      try {
        call(body, i, worker);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (i >= failure_index.load(std::memory_order_relaxed)) continue;
        failure = std::current_exception();
        failure_index.store(i, std::memory_order_relaxed);
      }
    }
  }

  bool enter() {
    uint64_t seen = state.load();
    while (seen & kOpen) {
      if (state.compare_exchange_weak(seen, seen + 1)) return true;
    }
    return false;
  }

  void leave() {
    const uint64_t before = state.fetch_sub(1);
    if ((before & kOpen) == 0 && (before & kInside) == 1) {
      left.fetch_add(1);
      left.notify_one();
    }
  }

  void wait_for_loop(uint32_t seen) {
    if (spin && spin_until([&] { return opened.load() != seen; })) return;
    opened.wait(seen);
  }

  void work(int worker) {
    uint32_t seen = 0;
    for (;;) {
      wait_for_loop(seen);
      seen = opened.load();
      if (stop.load()) return;
      if (!enter()) continue;
      claim(worker);
      leave();
    }
  }

  void announce(int wanted) {
    opened.fetch_add(1);
    if (wanted >= static_cast<int>(crew.size())) return opened.notify_all();
    for (int i = 0; i < wanted; ++i) opened.notify_one();
  }

  /// Sends the crew home.
  void dismiss() {
    stop.store(true);
    announce(static_cast<int>(crew.size()));
    for (std::thread& thread : crew) thread.join();
  }

  /// Closes the loop and waits for the workers inside.
  void close() {
    state.fetch_and(~kOpen);
    const auto empty = [&] { return (state.load() & kInside) == 0; };
    if (empty() || (spin && spin_until(empty))) return;
    for (uint32_t seen = left.load(); !empty(); seen = left.load()) left.wait(seen);
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  LEV_CHECK(threads >= 1, "a thread pool needs at least one thread");
  shared_ = std::make_unique<Shared>(threads);
  shared_->spin = threads <= available_threads();
  try {
    for (int worker = 1; worker < threads; ++worker)
      shared_->crew.push_back(
          start_thread([shared = shared_.get(), worker] { shared->work(worker); }, worker - 1));
  } catch (...) {
    shared_->dismiss();
    throw;
  }
}

ThreadPool::~ThreadPool() { shared_->dismiss(); }

void ThreadPool::run(int64_t n, Call call, void* body) {
  if (threads_ == 1 || n <= 1) {
    for (int64_t i = 0; i < n; ++i) call(body, i, 0);
    return;
  }
  Shared& shared = *shared_;
  LEV_CHECK(!shared.busy.exchange(true), "a thread pool's loops do not nest");
  shared.call = call;
  shared.body = body;
  shared.share_out(n);
  const uint64_t count = (shared.state.load() >> 32) + 1;
  shared.state.store(count << 32 | Shared::kOpen);
  shared.announce(static_cast<int>(std::min<int64_t>(n - 1, threads_ - 1)));
  shared.claim(0);
  shared.close();
  shared.busy.store(false);
  if (shared.failure) {
    std::exception_ptr failure;
    std::swap(failure, shared.failure);
    shared.failure_index.store(INT64_MAX, std::memory_order_relaxed);
    std::rethrow_exception(failure);
  }
}

}  // namespace levanter
