// How a rank looks again and again whether something that it waits for is there.
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

namespace levanter::dist {

/// Waits that become longer: at first the answer is there at once, later another process may need
/// the processor.
class Patience final {
 public:
  void wait() {
    if (++asked_ < 1000) return std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(asked_ < 5000 ? 20 : 200));
  }

 private:
  int64_t asked_ = 0;
};

}  // namespace levanter::dist
