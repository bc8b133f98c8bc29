// `levanter top`: a run as it goes.
#include <catch2/catch.hpp>

#include "base/file_lock.h"
#include "base/files.h"
#include "base/strings.h"
#include "report/live.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("a curve has a dot for each value, its extremes on the axis", "[commands]") {
  const report::Series series{"x", {1, 2, 3, 4}, {7, 5, 2, 0}};
  const auto lines = report::draw_curve(series, 2, 2);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] == "   7.0000 \u2821\u2800");
  CHECK(lines[1] == "   0.0000 \u2800\u2882");
}

TEST_CASE("a run without its record is still asked", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::string folder = run / "logs/run", control = folder + "/control";
  // As of a run that is under way, which this process is.
  const ProcessLock lock(folder + "/lock", "");
  const auto ask = [&](const std::string& start) {
    write_file_atomic(folder + "/run.json",
                      cat(R"({"starts":[{"outcome":"running")", start, "}]}"));
    return run({"top", "logs/run", "--ask", "evaluate"});
  };
  const Ended refused = ask(R"(,"validation_tokens":0)");
  CHECK(refused.code == 3);
  CHECK_THAT(refused.err, Catch::Contains("has nothing to evaluate"));
  CHECK(!path_exists(control));
  for (const char* start : {"", R"(,"validation_tokens":5)", R"(,"validation_tokens":"0")",
                            R"(,"validation_tokens":null)", R"(,"validation_tokens":[])"}) {
    INFO(start);
    CHECK(ask(start).code == 0);
    CHECK_THAT(read_file(control), Catch::Contains("evaluate\n"));
    remove_tree(control);
  }
  for (const bool broken : {true, false}) {
    INFO("broken: " << broken);
    remove_tree(folder + "/run.json");
    if (broken) write_file_atomic(folder + "/run.json", "{\"starts\": [");
    const Ended asked = run({"top", "logs/run", "--ask", "evaluate"});
    INFO(asked.err);
    CHECK(asked.code == 0);
    CHECK_THAT(read_file(control), Catch::Contains("evaluate\n"));
    remove_tree(control);
  }
}

TEST_CASE("top shows where a run is", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const Ended ended = run({"top", "logs/run"});
  CHECK(ended.code == 0);
  CHECK_THAT(ended.out, Catch::StartsWith("run  finished  step 20 of 20, 100.0%\nloss "));
  CHECK_THAT(ended.out, Catch::Contains(" tokens/s"));
  remove_tree(run / "logs/run/metrics.jsonl");
  make_directories(run / "logs/run/metrics.jsonl");
  CHECK(run({"top", "logs/run"}).code == 0);
  CHECK_THAT(run({"top", "logs"}).err, Catch::StartsWith("error: logs is no run's folder"));

  // As of a run that is under way, which this process is, and whose trackers keep no metrics.
  remove_tree(run / "logs/run/metrics.jsonl");
  remove_tree(run / "logs/run/summary.json");
  write_file_atomic(run / "logs/run/run.json", R"({"starts":[{"outcome":"running"}]})");
  const ProcessLock lock(run / "logs/run/lock", "");
  CHECK_THAT(run({"top", "logs/run", "--once"}).out,
             Catch::StartsWith("run  running\nno step in metrics.jsonl"));
}
