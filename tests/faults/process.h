// A process of the program under test, watched from outside.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "faults/lab.h"

namespace levanter::faults {

struct Ended {
  int code = -1;      ///< the exit code; 128 + the signal that ended it
  int signal = 0;     ///< 0: it ended by itself
  bool hung = false;  ///< it did not end in time and was killed
  double processor_seconds = 0;
  int64_t peak_bytes = 0;
  std::string output = {};  ///< what it wrote to both streams

  /// Ended by what is never right, whatever it met.
  bool crashed() const;
  /// "exit 6: its last words".
  std::string words() const;
};

class Process final {
 public:
  /// `levanter words...` in `folder`. Its output goes to a file of the lab's.
  Process(const Lab& lab, const std::string& folder, std::vector<std::string> words,
          std::vector<std::string> environment = {}, const std::string& input = "/dev/null");
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;

  double seconds() const;  ///< since it was started
  bool running();
  void signal(int number) const;
  int64_t id() const { return pid_; }
  /// True once the program has taken the signal's meaning from the system: blocked or handled it.
  bool expects(int number) const;
  /// Waits so many seconds at most, then kills it.
  Ended wait(double limit = 120);

 private:
  pid_t pid_ = -1;
  std::chrono::steady_clock::time_point started_;
  std::string output_path_;
  std::optional<Ended> ended_;
};

/// From start to end.
Ended run(const Lab& lab, const std::string& folder, std::vector<std::string> words,
          std::vector<std::string> environment = {});

void sleep_for(double seconds);

}  // namespace levanter::faults
