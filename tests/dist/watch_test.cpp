// Waits for other ranks: when they are too long, who says so, and in which words.
#include "dist/watch.h"

#include <catch2/catch.hpp>

#include <thread>
#include <vector>

using namespace levanter;
using dist::Deadlines;
using dist::Phase;
using dist::Watch;

namespace {

void pause(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

/// Whether a wait of 50 ms, looked at every 5, is too long.
bool is_long(Watch& watch) {
  Watch::Wait wait(watch);
  bool is_long = false;
  for (int i = 0; i < 10 && !is_long; ++i) {
    pause(5);
    is_long = wait.is_too_long(1);
  }
  return is_long;
}

}  // namespace

TEST_CASE("each phase has its deadline", "[dist]") {
  Watch watch(0);
  CHECK_FALSE(is_long(watch));  // hours
  watch.set_deadlines({.start = 0.01, .step = Deadlines::kNone, .save = 0.01});
  CHECK(is_long(watch));
  for (const Phase phase : {Phase::kMicrobatches, Phase::kGradients, Phase::kParameters}) {
    watch.enter(phase, 7);
    CHECK_FALSE(is_long(watch));
  }
  for (const Phase phase : {Phase::kBetween, Phase::kEnd}) {
    watch.enter(phase, 7);
    CHECK(is_long(watch));
  }
}

TEST_CASE("a rank that stood still itself has not waited for others", "[dist]") {
  Watch watch(0);
  watch.set_deadlines({.start = 1.01, .step = 1, .save = 1});
  Watch::Wait wait(watch);
  pause(1200);
  CHECK_FALSE(wait.is_too_long(1));
  CHECK(wait.seconds() == 1);
}

TEST_CASE("rank 0 speaks first, then the lowest rank that is not late, then the others", "[dist]") {
  const auto speaks = [](int64_t rank, double deadline, std::vector<int64_t> late) {
    Watch watch(rank);
    watch.set_deadlines({.start = deadline});
    return Watch::Wait(watch).speaks(late);
  };
  constexpr double kNow = -0.5, kLongAgo = -3.5, kLongerAgo = -6.5;  // deadlines, waits of 0 s
  for (const int64_t rank : {0, 1, 2}) {
    CHECK(speaks(rank, kNow, {3}) == (rank == 0));
    CHECK(speaks(rank, kLongAgo, {3}));
  }
  for (const int64_t rank : {1, 3}) {  // rank 0 may be late because it waits for rank 2
    CHECK_FALSE(speaks(rank, kNow, {0, 2}));
    CHECK(speaks(rank, kLongAgo, {0, 2}) == (rank == 1));
    CHECK(speaks(rank, kLongerAgo, {0, 2}));
  }
}

TEST_CASE("the error names ranks, machines, phase and deadline", "[dist]") {
  Watch watch(0);
  watch.set_deadlines({.start = 60, .step = 600, .save = 1800});
  CHECK(watch.late(std::vector<int64_t>{1}, 60).message() ==
        "rank 1 is late: rank 0 has waited for it for 1m 00s at the start");
  watch.set_places({{"a", "0"}, {"b", "0"}, {"c", "0"}});
  watch.enter(Phase::kGradients, 12);
  const Error late = watch.late(std::vector<int64_t>{1, 2}, 600);
  CHECK(late.kind() == ErrorKind::kDevice);
  CHECK(late.message() ==
        "rank 1 on b, rank 2 on c are late: rank 0 on a has waited for them for 10m 00s in step 12 "
        "(sum of gradients)");
  CHECK_THAT(late.what(), Catch::Contains("allowed  trainer.watchdog.step = 10m 00s"));
  watch.enter(Phase::kBetween, 12);
  watch.enter_service("evaluate");
  CHECK_THAT(watch.late(std::vector<int64_t>{1}, 1).message(),
             Catch::EndsWith("after step 12 (evaluate)"));
  CHECK_THAT(watch.late(std::vector<int64_t>(20, 1), 1).message(), Catch::Contains(", 12 more"));
}

TEST_CASE("waits are counted, and long ones are logged", "[dist]") {
  Watch watch(2);
  std::vector<std::string> lines;
  watch.set_log([&](const std::string& line) { lines.push_back(line); });
  { const Watch::Wait none(watch); }
  CHECK(watch.take_waited() == 0);
  is_long(watch);
  CHECK(watch.take_waited() > 0.04);
  CHECK(watch.take_waited() == 0);
  CHECK(lines.empty());
  watch.enter(Phase::kMicrobatches, 3);
  {
    Watch::Wait wait(watch);
    for (int i = 0; i < 3; ++i) {
      pause(500);
      wait.is_too_long(0);
    }
  }
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0], Catch::StartsWith("waited 1.") &&
                           Catch::EndsWith("s for rank 0 in step 3 (microbatches)"));
}
