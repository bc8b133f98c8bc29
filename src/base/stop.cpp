// Being asked to stop: one thread takes the signals, everyone else looks at a flag.
#include "base/stop.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {
namespace {

constexpr int kStops[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};

/// Signals so close to one another are one request: timeout(1) sends each twice, a shell or a
/// launcher may hand on what the process has got already.
constexpr auto kOneRequest = std::chrono::milliseconds(100);

std::atomic<bool> requested = false;
std::atomic<int> deferring = 0;

bool is_ignored(int signal) {
  struct sigaction action = {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t stops() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kStops)
    if (signal != SIGHUP || !is_ignored(signal)) ::sigaddset(&set, signal);
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

void say(const char* text) {
  // Best effort: who watches may be gone.
  if (::write(STDERR_FILENO, text, ::strlen(text)) < 0) return;
}

[[noreturn]] void take_signals(const sigset_t& set) {
  std::chrono::steady_clock::time_point first;
  for (;;) {
    int signal = 0;
    if (::sigwait(&set, &signal) != 0) continue;
    if (!requested.exchange(true)) {
      first = std::chrono::steady_clock::now();
    } else if (signal != SIGXCPU && std::chrono::steady_clock::now() - first > kOneRequest) {
      die_of(signal);
    }
    if (deferring.load() > 0) continue;
    say("stopped by a signal\n");
    ::_exit(static_cast<int>(ErrorKind::kSignal));
  }
}

}  // namespace

void watch_for_stops() {
  const sigset_t set = stops();
  // Also SIGINT, which a shell ignores for what it starts in the background: who sends it means it.
  for (const int signal : kStops)
    if (::sigismember(&set, signal) == 1) ::signal(signal, SIG_DFL);
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

bool stop_requested() noexcept { return requested.load(std::memory_order_relaxed); }

void throw_if_stopped() {
  if (stop_requested()) throw Error(ErrorKind::kSignal, "stopped by a signal");
}

}  // namespace levanter
