// metrics.jsonl: one object a step, cut back on a resume.
#include <catch2/catch.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>

#include "base/strings.h"
#include "support/temporary_folder.h"
#include "trackers/tracker.h"

namespace levanter::trackers {
extern const TrackerEntry jsonl_entry;
}

using namespace levanter;

namespace {

double fixed_clock() { return 1234567890.5; }
constexpr const char* kTime = ", \"time\": \"2009-02-13T23:31:30Z\"";

std::unique_ptr<Tracker> open(const testing::TemporaryFolder& folder, int64_t resume_step = 0,
                              int64_t first_step = 0) {
  TrackerContext context;
  context.clock = fixed_clock;
  context.first_step = first_step;
  context.run_folder = folder.path();
  context.resume_step = resume_step;
  return trackers::jsonl_entry.make(TrackerConfig(), context);
}

/// The file without the times in it, each of which is the clock's.
std::string content(const testing::TemporaryFolder& folder) {
  std::string text = read_file(folder / "metrics.jsonl");
  for (size_t at = 0; (at = text.find(kTime, at)) != text.npos;)
    text.erase(at, std::string(kTime).size());
  return text;
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

TEST_CASE("an object tells when its step was first heard of", "[trackers]") {
  const testing::TemporaryFolder folder;
  const auto tracker = open(folder);
  tracker->log({{"x", 1}}, 1);
  tracker->finish();
  CHECK(read_file(folder / "metrics.jsonl") ==
        "{\"step\": 1, \"time\": \"2009-02-13T23:31:30Z\", \"x\": 1}\n");
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

TEST_CASE("what a resume adds to the checkpoint's step joins its object", "[trackers]") {
  const testing::TemporaryFolder folder;
  const auto first = open(folder);
  first->log({{"x", 0.1}}, 1);
  first->log({{"x", 2}, {"y", NAN}}, 2);
  first->log({{"x", 3}}, 3);
  first->finish();
  const auto second = open(folder, 2);
  second->log({{"eval/loss", 4}}, 2);
  second->log({{"x", 5}}, 3);
  second->finish();
  CHECK(content(folder) ==
        "{\"step\": 1, \"x\": 0.1}\n{\"step\": 2, \"x\": 2, \"y\": null, \"eval/loss\": 4}\n"
        "{\"step\": 3, \"x\": 5}\n");
  CHECK(second->news() == "");
}

TEST_CASE("a resume names the steps whose lines are missing", "[trackers]") {
  const testing::TemporaryFolder folder;
  const auto lines = [&](int64_t first, int64_t last) {
    std::string text;
    for (int64_t step = first; step <= last; ++step) text += cat("{\"step\": ", step, "}\n");
    return text;
  };
  const auto gaps = [&](const std::string& text, int64_t resume_step, int64_t first_step = 0) {
    write_file_atomic(folder / "metrics.jsonl", text);
    return open(folder, resume_step, first_step)->news();
  };
  CHECK(gaps(lines(1, 500), 500) == "");
  CHECK(gaps(lines(1, 600), 500) == "");
  CHECK(gaps(lines(1, 250), 500) == "steps 251-500 are missing in metrics.jsonl");
  CHECK(gaps("", 500) == "steps 1-500 are missing in metrics.jsonl");
  CHECK(gaps(lines(1, 4) + lines(6, 10), 10) == "step 5 is missing in metrics.jsonl");
  CHECK(gaps(lines(2, 2) + lines(4, 4) + lines(6, 6) + lines(8, 8), 10) ==
        "steps 1, 3, 5 and more, 6 in all, are missing in metrics.jsonl");
  // What others have left: zeros where a log was cut, half a line.
  CHECK(gaps(lines(1, 3) + std::string(9, '\0') + lines(4, 6), 6) ==
        "step 4 is missing in metrics.jsonl");
  CHECK(gaps(lines(1, 3) + "{\"step\": 4, \"x" + lines(5, 6), 6) ==
        "steps 4-5 are missing in metrics.jsonl");
  // A run that began with the state of another after step 20 never had the steps before.
  CHECK(gaps(lines(21, 30), 30, 20) == "");
  CHECK(gaps("", 20, 20) == "");
  remove_tree(folder / "metrics.jsonl");
  CHECK(open(folder, 7)->news() == "steps 1-7 are missing in metrics.jsonl");
  // Far more than is read at once, and lines in another program's spelling.
  CHECK(gaps(lines(1, 100000) + "{\"x\":1,\"step\":100001}\n", 100002) ==
        "step 100002 is missing in metrics.jsonl");
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
      const std::string first = "{\"step\": 1, \"a\": 1}\n";
      rlimit limit{};
      ::getrlimit(RLIMIT_FSIZE, &limit);
      const rlim_t before = limit.rlim_cur;
      limit.rlim_cur = static_cast<rlim_t>(file_size(folder / "metrics.jsonl")) + 10;
      ::setrlimit(RLIMIT_FSIZE, &limit);
      tracker->log({{"a-longer-name", 2}}, 2);
      tracker->log({{"a", 3}}, 3);
      tracker->flush();
      const bool said = tracker->news().find("the run goes on") != std::string::npos;
      const bool whole = content(folder) == first && tracker->news().empty();
      limit.rlim_cur = before;
      ::setrlimit(RLIMIT_FSIZE, &limit);
      tracker->finish();
      const bool all = content(folder) ==
                       first + "{\"step\": 2, \"a-longer-name\": 2}\n{\"step\": 3, \"a\": 3}\n";
      code = said && whole && all && tracker->news() == "metrics.jsonl is written again" ? 0 : 2;
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

TEST_CASE("samples are lines of a file of their own, cut back on a resume", "[trackers]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "samples.jsonl";
  open(folder)->finish();
  CHECK(!path_exists(path));
  const auto tracker = open(folder);
  tracker->log_samples(std::vector<SampleText>{{"a", "b\n"}, {"", "\xff"}}, 3);
  tracker->log_samples(std::vector<SampleText>{{"a", "c"}}, 6);
  tracker->finish();
  const std::string first =
      "{\"step\":3,\"prompt\":\"a\",\"text\":\"b\\n\"}\n"
      "{\"step\":3,\"prompt\":\"\",\"text\":\"\ufffd\"}\n";
  CHECK(read_file(path) == first + "{\"step\":6,\"prompt\":\"a\",\"text\":\"c\"}\n");
  open(folder, 5)->finish();
  CHECK(read_file(path) == first);
  open(folder)->finish();
  CHECK(read_file(path) == "");
}
