// Being asked to stop: one thread takes the signals, everyone else looks at a flag.
#include "base/stop.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {
namespace {

struct Signal {
  int number;
  const char* name;
};
constexpr Signal kStops[] = {{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"},   {SIGHUP, "SIGHUP"},
                             {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}, {SIGXCPU, "SIGXCPU"}};

/// Signals so close to one another are one request: timeout(1) sends each twice, a shell or a
/// launcher may hand on what the process has got already.
constexpr auto kOneRequest = std::chrono::milliseconds(100);

constexpr int kNoSignal = -1;                  // a request by request_stop
std::atomic<int> requested = 0;                // the signal that came first
std::atomic<const char*> requester = nullptr;  // what asked without a signal
std::atomic<int> deferring = 0;
std::mutex removed_mutex;
std::multiset<std::string> removed;  // what RemovedAtStop names

bool is_ignored(int signal) {
  struct sigaction action = {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t stops() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const auto& [number, name] : kStops)
    if (number != SIGHUP || !is_ignored(number)) ::sigaddset(&set, number);
  return set;
}

/// Ends the program as the signal does where nobody takes it.
void die_of(int signal) {
  ::signal(signal, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(signal);
}

const char* name_of(int number) {
  for (const Signal& signal : kStops)
    if (signal.number == number) return signal.name;
  return number == kNoSignal ? requester.load() : "a signal";
}

/// Ends the program, of which nobody has anything to save; takes no memory.
[[noreturn]] void leave(int signal) {
  // Best effort: who watches may be gone.
  for (const char* text : {"stopped by ", name_of(signal), "\n"})
    if (::write(STDERR_FILENO, text, ::strlen(text)) < 0) errno = 0;
  const std::lock_guard lock(removed_mutex);  // never given back: nothing more is to come
  for (const std::string& path : removed) ::unlink(path.c_str());
  ::_exit(static_cast<int>(ErrorKind::kSignal));
}

[[noreturn]] void take_signals(const sigset_t& set) {
  std::chrono::steady_clock::time_point first;
  for (;;) {
    int signal = 0;
    if (::sigwait(&set, &signal) != 0) continue;
    int before = 0;
    if (requested.compare_exchange_strong(before, signal) ||
        (before == kNoSignal && requested.compare_exchange_strong(before, signal))) {
      first = std::chrono::steady_clock::now();
    } else if (signal != SIGXCPU && std::chrono::steady_clock::now() - first > kOneRequest) {
      die_of(signal);
    }
    if (deferring.load() == 0) leave(signal);
  }
}

}  // namespace

void watch_for_stops() {
  const sigset_t set = stops();
  // Also SIGINT, which a shell ignores for what it starts in the background: who sends it means it.
  for (const auto& [number, name] : kStops)
    if (::sigismember(&set, number) == 1) ::signal(number, SIG_DFL);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  try {
    std::thread([set] { take_signals(set); }).detach();
  } catch (const std::system_error& error) {
    throw Error(ErrorKind::kDevice, cat("cannot start a thread: ", error.code().message()))
        .hint("raise the limit on threads (ulimit -u) or on memory (ulimit -v)");
  }
}

DeferredStop::DeferredStop() { ++deferring; }
DeferredStop::~DeferredStop() { --deferring; }

RemovedAtStop::RemovedAtStop(std::string path) : path_(std::move(path)) {
  const std::lock_guard lock(removed_mutex);
  removed.insert(path_);
}

RemovedAtStop::~RemovedAtStop() {
  const std::lock_guard lock(removed_mutex);
  removed.erase(removed.find(path_));
}

void request_stop(const char* what) noexcept {
  requester = what;
  int none = 0;
  requested.compare_exchange_strong(none, kNoSignal);
}

bool stop_requested() noexcept { return requested.load(std::memory_order_relaxed) != 0; }

void throw_if_stopped() {
  if (stop_requested())
    throw Error(ErrorKind::kSignal, cat("stopped by ", name_of(requested.load())));
}

}  // namespace levanter
