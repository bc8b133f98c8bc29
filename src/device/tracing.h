// A record of the ranges of all threads, as a trace that Chrome and Perfetto show.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace levanter {

/// While one lives, every Range that begins and ends is kept, up to kMostEvents of them. There is
/// one at a time in a process.
class Tracing final {
 public:
  static constexpr size_t kMostEvents = size_t{1} << 20;

  Tracing();
  ~Tracing();
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;

  /// All ranges so far, one track a thread, in Chrome's trace event format: complete events ("X")
  /// with their times in microseconds from this object's beginning, and args.detail.
  /// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
  /// `process`: what the track group is called.
  std::string json(std::string_view process) const;
};

/// Whether one lives.
bool is_tracing();

/// What this thread's track is called from here on.
void name_thread(std::string_view name);

namespace trace {
/// For Range: the time where a trace is kept, else -1.
int64_t begin();
/// Keeps a range of this thread, if the trace is still the one in which it began.
void end(std::string_view name, std::string_view detail, int64_t began);
}  // namespace trace

}  // namespace levanter
