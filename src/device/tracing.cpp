// Keeps the ranges of all threads and writes them as a trace.
#include "device/tracing.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {

namespace {

struct Event {
  int thread = 0;
  int depth = 0;               ///< ranges that it is inside of
  int64_t begin = 0, end = 0;  ///< nanoseconds
  std::string name, detail;
  std::string of_thread;  ///< what its track is called
};

struct Record {
  int64_t began = 0;
  int64_t dropped = 0;
  size_t most = 0;
  std::vector<Event> events;
  std::map<int, std::string> threads;
};

constexpr int kOuter = 1;  // depth of phases

std::atomic<bool> tracing = false, expected = false;
std::mutex mutex;                // of what follows
std::unique_ptr<Record> record;  // null while no Tracing lives
std::vector<Event> open;         // of all threads, in the order of their beginnings

thread_local std::string thread_name;

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Nanoseconds as microseconds with three digits behind the point.
std::string microseconds(int64_t nanoseconds) {
  const std::string rest = cat(nanoseconds % 1000);
  return cat(nanoseconds / 1000, ".", std::string(3 - rest.size(), '0'), rest);
}

std::string metadata(std::string_view kind, int thread, std::string_view name) {
  return cat("{\"ph\": \"M\", \"name\": ", quote(kind), ", \"pid\": ", static_cast<int>(::getpid()),
             ", \"tid\": ", thread, ", \"args\": {\"name\": ", quote(name), "}}");
}

}  // namespace

Tracing::Tracing(size_t most) {
  const std::scoped_lock lock(mutex);
  LEV_CHECK(!record, "two traces at a time");
  record = std::make_unique<Record>();
  record->most = most;
  record->began = now();
  tracing = true;
}

Tracing::~Tracing() {
  const std::scoped_lock lock(mutex);
  tracing = expected = false;
  record.reset();
}

int64_t Tracing::dropped() const {
  const std::scoped_lock lock(mutex);
  return record->dropped;
}

std::string Tracing::json(std::string_view process) const {
  const std::scoped_lock lock(mutex);
  std::vector<Event> events = record->events;
  std::map<int, std::string> threads = record->threads;
  const int64_t until = now();
  for (const Event& e : open) {
    events.push_back(e);
    events.back().begin = std::max(e.begin, record->began);
    events.back().end = until;
    threads.try_emplace(e.thread, e.of_thread);
  }
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    if (a.thread != b.thread) return a.thread < b.thread;
    return a.begin != b.begin ? a.begin < b.begin : a.depth < b.depth;
  });
  const int pid = static_cast<int>(::getpid());
  std::string out =
      cat("{\"displayTimeUnit\": \"ms\", \"otherData\": {\"dropped\": ", record->dropped,
          "}, \"traceEvents\": [\n", metadata("process_name", pid, process));
  for (const auto& [thread, name] : threads)
    out +=
        cat(",\n", metadata("thread_name", thread, name.empty() ? cat("thread ", thread) : name));
  for (const Event& e : events) {
    out += cat(",\n{\"ph\": \"X\", \"name\": ", quote(e.name), ", \"pid\": ", pid,
               ", \"tid\": ", e.thread, ", \"ts\": ", microseconds(e.begin - record->began),
               ", \"dur\": ", microseconds(e.end - e.begin));
    if (!e.detail.empty()) out += cat(", \"args\": {\"detail\": ", quote(e.detail), "}");
    out += "}";
  }
  return out + "\n]}\n";
}

bool is_tracing() { return tracing.load(std::memory_order_relaxed); }

void name_thread(std::string_view name) { thread_name = name; }

namespace trace {

void expect() { expected = true; }

bool is_shown() {
  return tracing.load(std::memory_order_relaxed) || expected.load(std::memory_order_relaxed);
}

bool begin(std::string_view name, std::string_view detail) {
  if (!is_shown()) return false;
  const int thread = ::gettid();
  const std::scoped_lock lock(mutex);
  const auto around =
      std::count_if(open.begin(), open.end(), [&](const Event& e) { return e.thread == thread; });
  open.push_back({thread, static_cast<int>(around), now(), 0, std::string(name),
                  std::string(detail), thread_name});
  return true;
}

void end() {
  const int64_t ended = now();
  const int thread = ::gettid();
  const std::scoped_lock lock(mutex);
  const auto found =
      std::find_if(open.rbegin(), open.rend(), [&](const Event& e) { return e.thread == thread; });
  LEV_CHECK(found != open.rend(), "a range ends that has not begun");
  Event event = std::move(*found);
  open.erase(std::prev(found.base()));
  if (!record || ended < record->began) return;
  const size_t outer = event.depth <= kOuter ? 0 : record->most / Tracing::kOuterShare;
  if (record->events.size() >= record->most - outer) {
    ++record->dropped;
    return;
  }
  event.begin = std::max(event.begin, record->began);
  event.end = ended;
  record->threads.try_emplace(thread, event.of_thread);
  record->events.push_back(std::move(event));
}

}  // namespace trace

}  // namespace levanter
