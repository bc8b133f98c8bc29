// How a rank looks again and again whether something that it waits for is there.
#pragma once

#include <chrono>
#include <thread>

namespace levanter::dist {

/// Waits that become longer: at first the answer is there at once, later another process may need
/// the processor. Where one does, a yield takes as long as that one may run, and sleeping is
/// quicker: a thread that has seen it yields no more for a while.
class Patience final {
 public:
  void wait() {
    const Clock::time_point now = Clock::now();
    const Clock::duration waited = now - begin_;
    if (waited < kAtOnce && now >= busy_until_) {
      std::this_thread::yield();
      const Clock::time_point after = Clock::now();
      if (after - now > kYield) busy_until_ = after + kBusy;
      return;
    }
    std::this_thread::sleep_for(waited < kSoon ? kShort : kLong);
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Microseconds = std::chrono::microseconds;
  static constexpr Microseconds kAtOnce{1000}, kSoon{100'000};  ///< of a wait
  static constexpr Microseconds kShort{20}, kLong{200};         ///< sleeps
  static constexpr Microseconds kYield{100};                    ///< of one that lets nobody run
  static constexpr Microseconds kBusy{100'000};

  const Clock::time_point begin_ = Clock::now();
  static inline thread_local Clock::time_point busy_until_ = {};
};

}  // namespace levanter::dist
