// A log whose trouble ends nothing: what cannot be written waits, is tried again, and is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/files.h"

namespace levanter::trackers {

/// Records that are appended to a file, made anew should somebody remove it. While it cannot be
/// written, because the disk is full or the folder was taken away, the records wait in memory, the
/// oldest giving way beyond kWaitingBytes.
class LogSink final {
 public:
  static constexpr size_t kWaitingBytes = size_t{16} << 20;

  /// `name` and `record` are what people call the file and its parts: "metrics.jsonl", "line".
  /// `prepare`, if any, is given the file when it is first opened. `frame`, if any, makes of a
  /// record what stands in the file from an offset on.
  LogSink(std::string path, std::string name, std::string record,
          std::function<void(LogFile&)> prepare = {},
          std::function<std::string(std::string_view record, int64_t offset)> frame = {});

  /// Takes a record, to be written by the next `write`.
  void add(std::string record);
  /// Puts a record in the place of the one before, or, where somebody has changed the file since,
  /// after it.
  void replace_last(std::string record);
  /// Says where the last record stands in the file that `prepare` was given, so that it too can be
  /// replaced.
  void take_up_last(int64_t start, int64_t end) {
    last_start_ = start;
    end_ = end;
  }
  /// Appends all that waits, as far as it can be.
  void write();
  /// The last `write`: what still waits then is lost.
  void finish();

  /// Has something said to people: see Tracker::news.
  void tell(std::string line) { news_.push_back(std::move(line)); }
  std::string news();
  /// Has trouble with the file said, unless it has been since the last `write` that succeeded.
  void fail(std::string_view problem);
  bool failing() const { return failing_; }

 private:
  void open();
  void append_some();

  std::string path_, name_, record_;
  std::function<void(LogFile&)> prepare_;
  std::function<std::string(std::string_view, int64_t)> frame_;
  std::optional<LogFile> file_;
  std::deque<std::string> waiting_;
  size_t waiting_bytes_ = 0;
  int64_t last_start_ = 0, end_ = -1;  // where the last record written stands
  int64_t lost_ = 0;
  bool failing_ = false;
  std::deque<std::string> news_;
};

}  // namespace levanter::trackers
