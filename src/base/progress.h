// How far something that takes long has come, for people who wait.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>

namespace levanter {

struct Progress {
  const char* what = "";  ///< is being done: "evaluating"; the same pointer each time
  double done = 0, total = 0;
  const char* unit = "";  ///< of both: "token", or "B" for bytes
  int64_t piece = 0;      ///< another number for each time that the same is done

  /// From 0 to 1.
  double fraction() const { return total > 0 ? std::min(done / total, 1.0) : 1.0; }
};
/// Hears of it now and then, in one thread at a time.
using ProgressReport = std::function<void(const Progress&)>;

/// Words for it, whose rate is that since something was first told of the same piece of work.
class ProgressText final {
 public:
  /// "evaluating 40%, 12,345 tokens/s", at a time in seconds; without a rate as long as next to
  /// nothing has been done since the first call.
  std::string at(double seconds, const Progress& progress);

 private:
  const char* what_ = nullptr;
  int64_t piece_ = 0;
  double begun_at_ = 0, begun_ = 0, done_ = 0;
};

}  // namespace levanter
