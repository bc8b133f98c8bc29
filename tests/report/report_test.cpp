// What reports are made of: histories as they are found, points that keep extremes, pages that
// nothing in a run can break out of.
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include <cmath>

#include "base/files.h"
#include "base/strings.h"
#include "report/buckets.h"
#include "report/history.h"
#include "report/page.h"
#include "report/run_data.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::report;
using Catch::Contains;

namespace {

Series made(int64_t steps) {
  Series series{"train/loss", {}, {}};
  for (int64_t step = 1; step <= steps; ++step) {
    series.steps.push_back(step);
    series.values.push_back(2 + std::sin(static_cast<double>(step)) / 8);
  }
  return series;
}

}  // namespace

TEST_CASE("buckets keep the extremes of a long series", "[report]") {
  Series series = made(100'000);
  series.values[61'233] = 9;
  series.values[70'000] = NAN;
  series.values[80'000] = -1;
  const Buckets points = bucket(series, 400);
  CHECK(points.size() <= 400);
  CHECK(points.size() >= 390);
  CHECK(points.from.front() == 1);
  CHECK(points.to.back() == 100'000);
  CHECK(*std::max_element(points.high.begin(), points.high.end()) == 9);
  CHECK(*std::min_element(points.low.begin(), points.low.end()) == -1);
  CHECK(
      std::none_of(points.mean.begin(), points.mean.end(), [](double v) { return std::isnan(v); }));
  CHECK(bucket(made(300), 400).is_exact());
}

TEST_CASE("the worst spike is named by its step", "[report]") {
  Series series = made(1000);
  series.values[611] = 5;
  series.values[700] = 4;
  const Spike spike = worst_spike(series);
  CHECK(spike.step == 612);
  CHECK(spike.value == 5);
  CHECK(spike.times() == Approx(2.5).epsilon(0.1));
  CHECK(worst_spike(made(10)).step == -1);
}

TEST_CASE("a foreign or torn file of metrics costs its bad lines alone", "[report]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "metrics.jsonl",
                    "{\"step\": 1, \"time\": \"t1\", \"train/loss\": 2, \"note\": \"x\"}\n"
                    "no json\n"
                    "{\"train/loss\": 3}\n"
                    "[1, 2]\n\n"
                    "{\"step\": 3, \"train/loss\": null}\n"
                    "{\"step\": 2, \"train/loss\": 4, \"more\": {\"a\": 1}} trailing\n"
                    "{\"step\": 2, \"train/loss\": 5}\n"
                    "{\"step\": 4, \"tra");
  const History history = read_history(folder / "metrics.jsonl");
  CHECK(history.lines == 7);
  CHECK(history.bad_lines == 4);
  CHECK(history.torn);
  CHECK(history.last_step == 3);
  CHECK(history.from == "t1");
  const Series* loss = history.find("train/loss");
  REQUIRE(loss);
  CHECK(loss->steps == std::vector<int64_t>{1, 2, 3});
  CHECK(loss->values[1] == 5);
  CHECK(std::isnan(loss->values[2]));
  CHECK(history.find("note") == nullptr);
  CHECK(read_tail(folder / "metrics.jsonl", 60).find("train/loss")->steps ==
        std::vector<int64_t>{2});
  CHECK(read_history(folder / "none").lines == 0);
}

TEST_CASE("nothing in a run's folder gets out of its place in the page", "[report]") {
  const testing::TemporaryFolder folder;
  const std::string evil = "</script><script>alert(1)</script><!-- \\u0026 \" '";
  make_directories(folder / "run");
  write_file_atomic(folder / "run/config.toml", cat("[trainer]\nid = ", quote(evil), "\n"));
  write_file_atomic(folder / "run/run.json",
                    cat("{\"id\": ", quote(evil), ", \"starts\": [{\"outcome\": ", quote(evil),
                        ", ", quote(evil), ": 1}]}"));
  write_file_atomic(folder / "run/metrics.jsonl",
                    cat("{\"step\": 1, \"train/loss\": 2, ", quote(evil), ": 1}\n"));
  write_file_atomic(folder / "run/samples.jsonl", cat("{\"step\": 1, \"prompt\": ", quote(evil),
                                                      ", \"text\": \"\\ud800\"}\n[\n"));
  write_file_atomic(folder / "run/plan.json", "{\"arena_bytes\": -1, \"persistent\": [3, {}]}");
  write_file_atomic(folder / "run/summary.json", std::string(5000, '['));
  const RunData run = read_run(folder / "run");
  const std::string page = make_page(std::span(&run, 1));
  CHECK_THAT(page, Contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
  CHECK_THAT(page, Contains("\\u003c/script>\\u003cscript>alert(1)"));
  CHECK_THAT(page, !Contains("<script>alert"));
  CHECK_THAT(page, !Contains("<!-- \\u0026"));
  CHECK_THAT(page, Contains("summary.json is no JSON object and was left out"));
  const RunData two[] = {run, run};
  CHECK_THAT(make_page(two), !Contains("<script>alert"));
}

TEST_CASE("what is no regular file is left out, and waited for in no case", "[report]") {
  const testing::TemporaryFolder folder;
  const bool pipes = GENERATE(false, true);
  write_file_atomic(folder / "config.toml", "trainer.id = \"a\"\n");
  for (const char* name :
       {"metrics.jsonl", "run.json", "summary.json", "samples.jsonl", "report_samples.jsonl"})
    if (pipes)
      REQUIRE(::mkfifo((folder / name).c_str(), 0600) == 0);
    else
      make_directories(folder / name);
  CHECK(read_line(folder.path()).step == 0);
  const RunData run = read_run(folder.path());
  const std::string notes = join(run.notes, "\n");
  CHECK_THAT(notes, Contains("metrics.jsonl was left out: cannot read "));
  CHECK_THAT(notes, Contains("\nsamples.jsonl was left out: cannot read "));
  CHECK_THAT(notes, Contains("report_samples.jsonl was left out: cannot read "));
  CHECK_THAT(make_page(std::span(&run, 1)), Contains("metrics.jsonl was left out"));
}

TEST_CASE("a small run's charts are as they were agreed on", "[report]") {
  const testing::TemporaryFolder folder;
  std::string metrics;
  for (int step = 1; step <= 6; ++step) {
    metrics +=
        cat("{\"step\": ", step, ", \"train/loss\": ", 4.0 / step, ", \"global_step\": ", step,
            ", \"optim/learning_rate\": 0.001, "
            "\"grad/norm/total\": 1.25, \"throughput/duration\": 0.5, "
            "\"throughput/loading_time\": 0.0625, \"throughput/waited_share\": 0.25");
    if (step == 6) metrics += ", \"eval/loss\": 1, \"eval/web/loss\": 0.75, \"moe/load\": 3";
    metrics += "}\n";
  }
  write_file_atomic(folder / "metrics.jsonl", metrics);
  RunData run = read_run(folder.path());
  run.line.id = "small";
  std::string data = chart_data(std::span(&run, 1));
  for (size_t at = 0; (at = data.find("},{", at)) != data.npos; at += 3) data.insert(at + 2, "\n");
  data += "\n";
  CHECK(data == testing::expected_text(testing::golden_path("report/small.json"), data));
}
