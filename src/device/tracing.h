// A record of the ranges of all threads, as a trace that Chrome and Perfetto show.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace levanter {

/// While one lives, every Range is kept, up to `most` of them; one that is open already from its
/// beginning, one that is still open at the time of `json` up to that. There is one at a time in a
/// process.
class Tracing final {
 public:
  static constexpr size_t kMostEvents = size_t{1} << 20;
  /// One in so many is for ranges inside of one other at most, such as steps and their phases:
  /// these end last, when there is no room for others any more.
  static constexpr size_t kOuterShare = 8;

  explicit Tracing(size_t most = kMostEvents);
  ~Tracing();
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;

  /// All ranges so far, one track a thread, in Chrome's trace event format: complete events ("X")
  /// with their times in microseconds from this object's beginning, and args.detail.
  /// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
  /// `process`: what the track group is called.
  std::string json(std::string_view process) const;
  /// Ranges for which there was no room.
  int64_t dropped() const;
};

/// Whether one lives.
bool is_tracing();

/// What this thread's track is called from here on.
void name_thread(std::string_view name);

namespace trace {
/// Another thread of this process is about to keep a trace: ranges from here on are in it, clipped
/// to its beginning.
void expect();
/// Whether ranges are to be told of.
bool is_shown();
/// For Range: whether it was taken down, and is to be ended.
bool begin(std::string_view name, std::string_view detail);
/// Ends the latest range of this thread.
void end();
}  // namespace trace

}  // namespace levanter
