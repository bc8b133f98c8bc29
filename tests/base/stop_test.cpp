// Being asked to stop, each case in a process of its own.
#include "base/stop.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <thread>

#include "base/error.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

void pause_milliseconds(int milliseconds) {
  const timespec pause{0, milliseconds * 1'000'000L};
  ::nanosleep(&pause, nullptr);
}

/// How a child ends that runs `body`, in which the code 1 is added by a return.
int end_of_child(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    body();
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Longer than a busy machine takes to end a process.
void wait_long() {
  for (int i = 0; i < 40; ++i) pause_milliseconds(500);
}

}  // namespace

TEST_CASE("without work to save a signal ends the program at once with 75", "[base]") {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU})
    CHECK(end_of_child([&] {
            ::signal(signal, SIG_DFL);  // nohup ignores SIGHUP for the tests too
            watch_for_stops();
            ::kill(::getpid(), signal);
            wait_long();
          }) == 75);
}

TEST_CASE("a deferred stop is noted, and a second signal ends the program", "[base]") {
  const auto twice = [](int milliseconds, int signal) {
    return end_of_child([=] {
      watch_for_stops();
      const DeferredStop deferred;
      ::kill(::getpid(), signal);
      while (!stop_requested()) pause_milliseconds(1);
      pause_milliseconds(milliseconds);
      ::kill(::getpid(), signal);
      pause_milliseconds(300);
      try {
        throw_if_stopped();
      } catch (const Error& error) {
        ::_exit(static_cast<int>(error.kind()));
      }
    });
  };
  CHECK(twice(200, SIGTERM) == 128 + SIGTERM);
  CHECK(twice(200, SIGUSR1) == 128 + SIGUSR1);
  CHECK(twice(0, SIGTERM) == 75);  // as timeout(1) sends it: once to the process, once to its group
  CHECK(twice(200, SIGXCPU) == 75);  // the system repeats it each second
}

TEST_CASE("no thread but the waiting one is ever interrupted", "[base]") {
  CHECK(end_of_child([] {
          watch_for_stops();
          const DeferredStop deferred;
          std::thread([] {
            sigset_t blocked;
            ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
            if (!::sigismember(&blocked, SIGTERM) || !::sigismember(&blocked, SIGUSR2)) ::_exit(3);
            struct sigaction action = {};
            ::sigaction(SIGTERM, nullptr, &action);
            if (action.sa_handler != SIG_DFL) ::_exit(4);
          }).join();
        }) == 1);
}

TEST_CASE("a hang-up that was ignored before the start stays ignored", "[base]") {
  CHECK(end_of_child([] {
          ::signal(SIGHUP, SIG_IGN);
          watch_for_stops();
          ::kill(::getpid(), SIGHUP);
          pause_milliseconds(100);
        }) == 1);
}

TEST_CASE("the program stops while it waits for its configuration", "[base]") {
  const TemporaryFolder folder;
  const std::string pipe = folder / "run.toml";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  Program process({"train", "--config", pipe});
  const int writer = ::open(pipe.c_str(), O_WRONLY);  // returns once the program reads
  REQUIRE(writer >= 0);
  process.signal(SIGTERM);
  CHECK(process.wait().code == 75);
  ::close(writer);
}
