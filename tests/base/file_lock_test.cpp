// Locks: one holder at a time, with flock and without.
#include "base/file_lock.h"

#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/error.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using Catch::Contains;
using testing::failure_of;

namespace {

/// A process that takes a lock and keeps it until it is killed.
class Holder final {
 public:
  explicit Holder(const std::string& path) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      std::string holder;
      const auto lock = ProcessLock::try_take(path, holder);
      const char byte = lock ? 1 : 0;
      if (::write(ready[1], &byte, 1) == 1) ::pause();
      ::_exit(0);
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    took_ = byte == 1;
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Holder() { end(); }

  int64_t pid() const { return pid_; }
  bool took() const { return took_; }
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  bool took_ = false;
};

int no_flock(int, int) {
  errno = ENOLCK;
  return -1;
}

/// As on a file system that has none.
struct WithoutFlock {
  WithoutFlock() { flock_call = no_flock; }
  ~WithoutFlock() { flock_call = flock_before; }
  int (*flock_before)(int, int) = flock_call;
};

std::string refusal(const std::string& path) {
  return failure_of(ErrorKind::kIo, [&] { const ProcessLock lock(path, "wait for it"); });
}

}  // namespace

TEST_CASE("a process lock admits one holder, names it, and ends with it", "[base]") {
  const testing::TemporaryFolder folder;
  Holder holder(folder / "lock");
  REQUIRE(holder.took());
  const std::string refused = refusal(folder / "lock");
  CHECK_THAT(refused, Contains(cat("is held by process ", holder.pid())));
  CHECK_THAT(refused, Contains("wait for it"));
  holder.end();
  CHECK(ProcessLock(folder / "lock", "").note().empty());
}

TEST_CASE("without flock a file with host and process stands for the lock", "[base]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "lock";
  const WithoutFlock without;
  {
    const ProcessLock lock(path, "");
    CHECK_THAT(lock.note(), Contains("has no flock") && Contains(path + ".held"));
    CHECK_THAT(refusal(path), Contains(cat("is held by process ", ::getpid(), "\n")) &&
                                  Contains(cat("remove ", path, ".held")));
    CHECK_FALSE(Holder(path).took());
  }
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"lock"});
  Holder killed(path);
  REQUIRE(killed.took());
  CHECK_THAT(refusal(path), Contains(cat("process ", killed.pid())));
  killed.end();
  CHECK(path_exists(path + ".held"));
  { const ProcessLock taken_over(path, ""); }
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"lock"});
  // Of a process elsewhere nobody here knows whether it runs.
  write_file_atomic(path + ".held", "1 another-host 5\n");
  CHECK_THAT(refusal(path), Contains("is held by process 1 on another-host"));
  // The number of a process that has ended may be another's by now.
  char host[256] = {};
  REQUIRE(::gethostname(host, sizeof host - 1) == 0);
  write_file_atomic(path + ".held", cat(::getpid(), " ", host, " 1\n"));
  CHECK_NOTHROW(ProcessLock(path, ""));
}

TEST_CASE("without flock a stop that ends the program at once gives the lock back", "[base]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "lock";
  const WithoutFlock without;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    watch_for_stops();
    const ProcessLock lock(path, "");
    ::kill(::getpid(), path_exists(path + ".held") ? SIGTERM : SIGKILL);
    ::sleep(60);
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == static_cast<int>(ErrorKind::kSignal)));
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"lock"});
}

TEST_CASE("of many processes that find the lock of a dead one, one takes it over", "[base]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "lock";
  const WithoutFlock without;
  for (int round = 0; round < 10; ++round) {
    {
      Holder killed(path);
      REQUIRE(killed.took());
    }
    int results[2];
    REQUIRE(::pipe(results) == 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        std::string holder;
        const auto lock = ProcessLock::try_take(path, holder);
        const char byte = lock ? 1 : 0;
        if (::write(results[1], &byte, 1) == 1) ::pause();
        ::_exit(0);
      }
      children.push_back(child);
    }
    int taken = 0;
    for (size_t i = 0; i < children.size(); ++i) {
      char byte = 0;
      REQUIRE(::read(results[0], &byte, 1) == 1);
      taken += byte;
    }
    CHECK(taken == 1);
    for (const pid_t child : children) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    ::close(results[0]);
    ::close(results[1]);
  }
}

TEST_CASE("a lock held with flock counts where flock fails, and the other way round", "[base]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "lock";
  {
    const Holder holder(path);
    const WithoutFlock without;
    CHECK_THAT(refusal(path), Contains(cat("process ", holder.pid())));
  }
  const WithoutFlock without;
  const ProcessLock lock(path, "");
  flock_call = without.flock_before;
  CHECK_THAT(refusal(path), Contains(cat("process ", ::getpid())));
}
