// How many threads this process may use, and a pool that shares a loop's indices among them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

namespace levanter {

/// The number of threads that can run at once here: the processors in the affinity mask, or the
/// processor quota of the control group (v1 or v2, rounded up) where that is less; at least 1.
int available_threads();

/// Throws the Error for a thread that could not be started while `running` others run: kDevice,
/// with what limits them.
[[noreturn]] void thread_refused(int running);

/// A thread that runs `body`. error  thread_refused
template <class Body>
std::thread start_thread(Body&& body, int running = 0) {
  try {
    return std::thread(std::forward<Body>(body));
  } catch (const std::system_error&) {
    thread_refused(running);
  }
}

/// A fixed crew of threads: the caller of parallel_for is worker 0, the others wait for it, at
/// first spinning for about 200 microseconds, then asleep. Pools are independent of one another;
/// one pool serves one caller at a time and its loops do not nest.
class ThreadPool final {
 public:
  /// `threads` >= 1 workers, the caller included; more than the machine has are obeyed.
  /// error  thread_refused
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  /// Calls fn(int64_t index, int worker) for each index in [0, n), worker in [0, threads()). Worker
  /// w goes through the w-th share of neighbours in order, whose rows may still be in its cache,
  /// then helps with other shares. Allocates nothing. When calls throw, no index above the lowest
  /// that threw is begun any more, and its exception is rethrown here.
  template <class Fn>
  void parallel_for(int64_t n, Fn&& fn) {
    using Body = std::remove_reference_t<Fn>;
    run(
        n,
        [](void* body, int64_t index, int worker) { (*static_cast<Body*>(body))(index, worker); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Call = void (*)(void* body, int64_t index, int worker);
  struct Shared;

  void run(int64_t n, Call call, void* body);

  int threads_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace levanter
