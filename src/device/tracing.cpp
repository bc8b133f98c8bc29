// Keeps the ranges of all threads and writes them as a trace.
#include "device/tracing.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
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
  int64_t begin = 0, end = 0;  ///< nanoseconds
  std::string name, detail;
};

struct Record {
  int64_t began = 0;
  int64_t dropped = 0;
  std::vector<Event> events;
  std::map<int, std::string> threads;
};

std::atomic<bool> tracing = false;
std::mutex mutex;                // of what follows
std::unique_ptr<Record> record;  // null while no Tracing lives

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

Tracing::Tracing() {
  const std::scoped_lock lock(mutex);
  LEV_CHECK(!record, "two traces at a time");
  record = std::make_unique<Record>();
  record->began = now();
  tracing = true;
}

Tracing::~Tracing() {
  const std::scoped_lock lock(mutex);
  tracing = false;
  record.reset();
}

std::string Tracing::json(std::string_view process) const {
  const std::scoped_lock lock(mutex);
  std::vector<Event>& events = record->events;
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    if (a.thread != b.thread) return a.thread < b.thread;
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  const int pid = static_cast<int>(::getpid());
  std::string out =
      cat("{\"displayTimeUnit\": \"ms\", \"otherData\": {\"dropped\": ", record->dropped,
          "}, \"traceEvents\": [\n", metadata("process_name", pid, process));
  for (const auto& [thread, name] : record->threads)
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

int64_t begin() { return is_tracing() ? now() : -1; }

void end(std::string_view name, std::string_view detail, int64_t began) {
  const int64_t ended = now();
  const int thread = ::gettid();
  const std::scoped_lock lock(mutex);
  if (!record || began < record->began) return;
  if (record->events.size() >= Tracing::kMostEvents) {
    ++record->dropped;
    return;
  }
  record->events.push_back({thread, began, ended, std::string(name), std::string(detail)});
  record->threads.try_emplace(thread, thread_name);
}

}  // namespace trace

}  // namespace levanter
