// Being asked to stop: one thread takes the signals, everyone else looks at a flag.
#pragma once

#include <string>

namespace levanter {

// oneDNN's generated products borrow the stack pointer for heap memory (its issue 4845), so a
// signal that is *handled* while one runs has its frame written over the heap. Here none is: the
// signals are blocked in every thread and taken by one that waits for them. Nothing else in the
// program may install a handler; to ignore a signal does no harm.

/// Begins to take SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU, all alike; SIGHUP stays
/// ignored where it was (nohup). Call it once, before any other thread is made.
///
/// The first one ends the program at once with the exit code of ErrorKind::kSignal, unless a
/// DeferredStop lives: then it is noted, and who deferred it looks at stop_requested(). A second
/// one, more than a tenth of a second later, ends the program at once as if the signal had never
/// been taken; SIGXCPU alone does not, since the system repeats it.
void watch_for_stops();

/// While one lives a request to stop is noted instead of ending the program, for work that has
/// something to save or to clear away. Such work asks at least once in each microbatch.
class DeferredStop final {
 public:
  DeferredStop();
  ~DeferredStop();
  DeferredStop(const DeferredStop&) = delete;
  DeferredStop& operator=(const DeferredStop&) = delete;
};

/// While one lives a stop that nobody defers removes this file before it ends the program, which
/// runs no destructors.
class RemovedAtStop final {
 public:
  explicit RemovedAtStop(std::string path);
  ~RemovedAtStop();
  RemovedAtStop(const RemovedAtStop&) = delete;
  RemovedAtStop& operator=(const RemovedAtStop&) = delete;

 private:
  std::string path_;
};

/// Asks as a signal does, where a DeferredStop lives; `what` asks, a literal. A signal that comes
/// later is the first one.
void request_stop(const char* what) noexcept;
/// Whether a request came; it stays.
bool stop_requested() noexcept;
/// Throws Error of kind kSignal, which names the signal, when one came.
void throw_if_stopped();

}  // namespace levanter
