// A log whose trouble ends nothing.
#include "trackers/log_sink.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::trackers {

namespace {
/// Bytes of one append, so that a long queue is not begun anew each time that it fails.
constexpr size_t kPieceBytes = size_t{1} << 16;
}  // namespace

LogSink::LogSink(std::string path, std::string name, std::string record,
                 std::function<void(LogFile&)> prepare,
                 std::function<std::string(std::string_view, int64_t)> frame)
    : path_(std::move(path)),
      name_(std::move(name)),
      record_(std::move(record)),
      prepare_(std::move(prepare)),
      frame_(std::move(frame)) {}

void LogSink::add(std::string record) {
  waiting_bytes_ += record.size();
  waiting_.push_back(std::move(record));
  while (waiting_bytes_ > kWaitingBytes && waiting_.size() > 1) {
    waiting_bytes_ -= waiting_.front().size();
    waiting_.pop_front();
    ++lost_;
  }
}

void LogSink::replace_last(std::string record) {
  try {
    if (!waiting_.empty()) {
      waiting_bytes_ -= waiting_.back().size();
      waiting_.pop_back();
    } else if (file_ && file_->in_place() && file_->size() == end_) {
      file_->truncate(last_start_);
    }
  } catch (const Error&) {
    // It stands twice then, the later one whole.
  }
  add(std::move(record));
}

void LogSink::write() {
  try {
    if (!file_ || !waiting_.empty()) open();
    while (!waiting_.empty()) append_some();
    if (failing_) tell(cat(name_, " is written again"));
    failing_ = false;
  } catch (const Error& error) {
    fail(error.message());
  }
}

void LogSink::fail(std::string_view problem) {
  if (!failing_) tell(cat(problem, "; the run goes on, and what is missing is tried again"));
  failing_ = true;
}

void LogSink::finish() {
  write();
  lost_ += static_cast<int64_t>(std::exchange(waiting_, {}).size());
  waiting_bytes_ = 0;
  if (lost_ > 0) tell(cat(name_, ": ", count_of(lost_, record_), " could not be written"));
  lost_ = 0;
}

std::string LogSink::news() {
  if (news_.empty()) return "";
  std::string line = std::move(news_.front());
  news_.pop_front();
  return line;
}

void LogSink::open() {
  if (file_ && file_->in_place()) return;
  file_.reset();
  make_directories(parent_path(path_));
  file_.emplace(path_);
  if (!prepare_) return;
  try {
    prepare_(*file_);
  } catch (...) {
    file_.reset();
    throw;
  }
  prepare_ = {};
}

void LogSink::append_some() {
  std::string piece;
  size_t records = 0, taken = 0, last_begin = 0;
  const int64_t from = frame_ ? file_->size() : 0;
  while (records < waiting_.size() &&
         (records == 0 || piece.size() + waiting_[records].size() <= kPieceBytes)) {
    const std::string& record = waiting_[records++];
    last_begin = piece.size();
    taken += record.size();
    piece += frame_ ? frame_(record, from + static_cast<int64_t>(piece.size())) : record;
  }
  file_->append(piece);
  end_ = file_->size();
  last_start_ = end_ - static_cast<int64_t>(piece.size() - last_begin);
  waiting_bytes_ -= taken;
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(records));
}

}  // namespace levanter::trackers
