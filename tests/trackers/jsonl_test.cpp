// metrics.jsonl: one object a step, cut back on a resume.
#include <catch2/catch.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>

#include "base/error.h"
#include "support/temporary_folder.h"
#include "trackers/tracker.h"

namespace levanter::trackers {
extern const TrackerEntry jsonl_entry;
}

using namespace levanter;

namespace {

std::unique_ptr<Tracker> open(const testing::TemporaryFolder& folder, int64_t resume_step = 0) {
  TrackerContext context;
  context.run_folder = folder.path();
  context.resume_step = resume_step;
  return trackers::jsonl_entry.make(context);
}

std::string content(const testing::TemporaryFolder& folder) {
  return read_file(folder / "metrics.jsonl");
}

}  // namespace

TEST_CASE("each step is one object with its keys in order", "[trackers]") {
  const testing::TemporaryFolder folder;
  const auto tracker = open(folder);
  tracker->log({{"train/loss", 2.5}, {"global_step", 1}}, 1);
  tracker->log({{"train/loss", NAN}, {"grad/norm/total", INFINITY}}, 2);
  tracker->log({{"eval/loss", 1e-7}}, 2);
  tracker->log({{"train/loss", 0.1}}, 3);
  tracker->finish();
  CHECK(content(folder) ==
        "{\"step\": 1, \"train/loss\": 2.5, \"global_step\": 1}\n"
        "{\"step\": 2, \"train/loss\": null, \"grad/norm/total\": null, \"eval/loss\": 1e-07}\n"
        "{\"step\": 3, \"train/loss\": 0.1}\n");
}

TEST_CASE("what comes for a step after a flush joins its object", "[trackers]") {
  const testing::TemporaryFolder folder;
  const auto tracker = open(folder);
  tracker->log({{"train/loss", 1.25}}, 1);
  tracker->flush();
  CHECK(content(folder) == "{\"step\": 1, \"train/loss\": 1.25}\n");
  tracker->log({{"eval/loss", 2}}, 1);
  tracker->flush();
  CHECK(content(folder) == "{\"step\": 1, \"train/loss\": 1.25, \"eval/loss\": 2}\n");
  tracker->log({{"train/loss", 1}}, 1);  // the line becomes shorter
  tracker->finish();
  CHECK(content(folder) == "{\"step\": 1, \"train/loss\": 1, \"eval/loss\": 2}\n");
}

TEST_CASE("a resume cuts the file back to the checkpoint's step", "[trackers]") {
  const testing::TemporaryFolder folder;
  const std::string one = "{\"step\": 1, \"x\": 1}\n", two = "{\"x\": 2, \"step\": 2}\n";
  const std::string three = "{\"step\": 3}\n", torn = "{\"step\": 2, \"tra";
  write_file_atomic(folder / "metrics.jsonl", one + two + three + torn);

  SECTION("later steps and a torn line go") {
    const auto tracker = open(folder, 2);
    tracker->log({{"x", 9}}, 3);
    tracker->finish();
    CHECK(content(folder) == one + two + "{\"step\": 3, \"x\": 9}\n");
  }
  SECTION("a torn line goes even where its step is early enough") {
    open(folder, 3);
    CHECK(content(folder) == one + two + three);
  }
  SECTION("a fresh start begins an empty file") {
    open(folder, 0);
    CHECK(content(folder).empty());
  }
  SECTION("a step before all lines leaves none") {
    write_file_atomic(folder / "metrics.jsonl", two + three);
    open(folder, 1);
    CHECK(content(folder).empty());
  }
  SECTION("lines that are no metrics go with what follows the kept ones") {
    write_file_atomic(folder / "metrics.jsonl", one + "\n" + "[]\n" + "{\"x\": 1}\n");
    open(folder, 5);
    CHECK(content(folder) == one);
  }
}

TEST_CASE("a write that fails leaves whole lines, and the next flush tries again", "[trackers]") {
  const testing::TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 1;
    try {
      std::signal(SIGXFSZ, SIG_IGN);
      const auto tracker = open(folder);
      tracker->log({{"a", 1}}, 1);
      tracker->flush();
      rlimit limit{};
      ::getrlimit(RLIMIT_FSIZE, &limit);
      const rlim_t before = limit.rlim_cur;
      limit.rlim_cur = 30;
      ::setrlimit(RLIMIT_FSIZE, &limit);
      tracker->log({{"a-longer-name", 2}}, 2);
      try {
        tracker->flush();
      } catch (const Error& error) {
        const bool whole = content(folder) == "{\"step\": 1, \"a\": 1}\n";
        limit.rlim_cur = before;
        ::setrlimit(RLIMIT_FSIZE, &limit);
        tracker->finish();
        const bool all =
            content(folder) == "{\"step\": 1, \"a\": 1}\n{\"step\": 2, \"a-longer-name\": 2}\n";
        code = error.kind() == ErrorKind::kIo && whole && all ? 0 : 2;
      }
    } catch (...) {
      code = 3;
    }
    ::_exit(code);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(WIFEXITED(status));
}
