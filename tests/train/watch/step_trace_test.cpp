// Traces, as a reader of JSON finds them.
#include "train/watch/step_trace.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/strings.h"
#include "device/ranges.h"
#include "dist/launcher.h"
#include "support/program.h"
#include "support/rank_processes.h"
#include "support/tiny_run.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

/// Of what a step's phases may leave out of its time.
constexpr double kLeftOut = 0.01;

struct Span {
  std::string name, detail;
  double begin = 0, end = 0;
  std::vector<Span> inside = {};
};

/// A track's spans as a tree; fails where two overlap that are not one inside the other.
void insert(std::vector<Span>& spans, Span span) {
  constexpr double kRounding = 1e-6;  // of microseconds: decimal fractions as doubles
  if (spans.empty() || spans.back().end <= span.begin + kRounding) {
    spans.push_back(std::move(span));
    return;
  }
  INFO(span.name << " in " << spans.back().name);
  REQUIRE(span.begin >= spans.back().begin - kRounding);
  REQUIRE(span.end <= spans.back().end + kRounding);
  insert(spans.back().inside, std::move(span));
}

struct Trace {
  std::map<std::string, std::vector<Span>> tracks;  ///< by name
};

Trace read_trace(const std::string& path) {
  const json file = json::parse(read_file(path));
  CHECK(file["otherData"]["dropped"] == 0);
  std::map<int64_t, std::string> names;
  std::map<int64_t, std::vector<Span>> by_thread;
  for (const json& event : file["traceEvents"]) {
    const int64_t thread = event["tid"];
    if (event["ph"] == "M") {
      if (event["name"] == "thread_name") names[thread] = event["args"]["name"];
      continue;
    }
    REQUIRE(event["ph"] == "X");
    const double begin = event["ts"], length = event["dur"];
    CHECK(length >= 0);
    insert(by_thread[thread],
           {event["name"], event.contains("args") ? event["args"]["detail"] : json(""), begin,
            begin + length});
  }
  Trace trace;
  for (auto& [thread, spans] : by_thread)  // several loaders may have been there
    if (!trace.tracks.try_emplace(names.at(thread), spans).second)
      trace.tracks.emplace(cat(names.at(thread), ", thread ", thread), spans);
  return trace;
}

double sum(const std::vector<Span>& spans) {
  double total = 0;
  for (const Span& span : spans) total += span.end - span.begin;
  return total;
}

void collect(const std::vector<Span>& spans, std::set<std::string>& names) {
  for (const Span& span : spans) {
    names.insert(span.detail.empty() ? span.name : cat(span.name, " of ", span.detail));
    collect(span.inside, names);
  }
}

/// Steps `first` and so on of a rank's track: one after the other, each the sum of its phases.
std::vector<Span> steps_of(const Trace& trace, const std::string& track, int64_t first,
                           int64_t count) {
  INFO(track);
  REQUIRE(trace.tracks.contains(track));
  std::vector<Span> steps;
  for (const Span& span : trace.tracks.at(track))
    if (span.name == "step" && std::stoll(span.detail) < first + count) steps.push_back(span);
  REQUIRE(std::ssize(steps) == count);  // a rank beside the first may have begun another
  double most = 0;  // a busy machine may stop a thread between two spans of a step
  double between = INFINITY;
  for (size_t i = 0; i < steps.size(); ++i) {
    CHECK(steps[i].detail == cat(first + static_cast<int64_t>(i)));
    const double whole = steps[i].end - steps[i].begin;
    CHECK(sum(steps[i].inside) <= whole);
    most = std::max(most, sum(steps[i].inside) / whole);
    if (i > 0) between = std::min(between, (steps[i].begin - steps[i - 1].end) / whole);
  }
  CHECK(most >= 1 - kLeftOut);
  CHECK(between <= kLeftOut);
  return steps;
}

}  // namespace

TEST_CASE("the trace of a run's steps nests, and its phases add up to the time", "[train]") {
  const SmallRun run;
  const std::string steps = "--trainer.profile.steps=[10, 12]";
  const Ended ended = run.train({steps, "--model.hidden_dim=128", "--trainer.steps_per_eval=11"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  CHECK_THAT(ended.err, Catch::Contains("traced steps 10 to 12 into "));
  const Trace trace = read_trace(run / "logs/run/trace.json");
  CHECK(trace.tracks.contains("tracker jsonl"));
  const std::vector<Span> done = steps_of(trace, "rank 0", 10, 3);
  std::set<std::string> names;
  collect(done, names);
  for (const char* name :
       {"wait for data", "microbatch", "gradients", "update", "hooks", "metrics", "evaluation"})
    CHECK(names.contains(name));
  const auto op = [&](std::string_view begin, std::string_view end) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return name.starts_with(begin) && name.find(end) != name.npos;
    });
  };
  CHECK(op("linear_xent of ", "src/"));
  CHECK(op("attention_grad backward of transformer.h.", "src/"));
}

TEST_CASE("a trace has the threads of all ranks, and leaves the bits", "[train]") {
  const SmallRun run;
  const auto hash = [&](const std::string& id, std::vector<std::string> words) {
    words.insert(words.end(), {"--trainer.id=" + id, "--trainer.communicator=threads",
                               "--trainer.ranks=2", "--trainer.microbatch_size=1",
                               "--trainer.shard=parameters", "--model.hidden_dim=128"});
    const Ended ended = run.train(words);
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    return json::parse(read_file(run / cat("logs/", id, "/summary.json")))["params_hash"];
  };
  CHECK(hash("traced", {"--trainer.profile.steps=[2, 4]"}) == hash("plain", {}));
  const Trace trace = read_trace(run / "logs/traced/trace.json");
  CHECK(trace.tracks.contains("parameters of other ranks"));
  for (const char* track : {"rank 0", "rank 1"}) steps_of(trace, track, 2, 3);
  CHECK(!path_exists(run / "logs/plain/trace.json"));
}

TEST_CASE("ranks that are processes write a trace each, whose phases add up", "[train]") {
  const TinyRun run;
  const std::string config =
      run.config_file("a",
                      "num_train_steps = 8\nthreads = 1\ncommunicator = \"threads\"\nranks = 2\n"
                      "shard = \"parameters\"\nprofile = { steps = [4, 7] }\n");
  std::string text = read_file(config);
  text.replace(text.find("hidden_dim = 16"), 15, "hidden_dim = 256");
  write_file_atomic(config, text);
  for (const Ended& ended : RankProcesses({{config}, {config}}).wait()) {
    INFO(ended.err);
    CHECK(ended.code == 0);
  }
  const std::string folder = run.folder / "runs/a";
  steps_of(read_trace(join_path(folder, "trace.json")), "rank 0", 4, 4);
  steps_of(read_trace(join_path(folder, "ranks/trace-1.json")), "rank 1", 4, 4);
}

TEST_CASE("bench step writes a trace", "[train]") {
  const SmallRun run;
  const Ended ended =
      run({"bench", "step", "--config", "run.toml", "--steps", "1", "--trace", "t.json"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  const Trace trace = read_trace(run / "t.json");
  CHECK(trace.tracks.at("bench").size() == 3);
}

TEST_CASE("ranges are kept while a trace is", "[device]") {
  CHECK(!is_tracing());
  {
    const Range before("before");
    const Tracing tracing;
    CHECK(is_tracing());
    const Range inside("inside", "detail \"x\"");
    { const Range deep("deep"); }
    const json events = json::parse(tracing.json("p"))["traceEvents"];
    REQUIRE(events.size() == 4);           // with the names of process and thread
    CHECK(events[2]["name"] == "inside");  // up to now
    CHECK(events[3]["name"] == "deep");
    CHECK(events[2]["ts"].get<double>() + events[2]["dur"].get<double>() >=
          events[3]["ts"].get<double>() + events[3]["dur"].get<double>());
  }
  CHECK(!is_tracing());
}

TEST_CASE("a range that is open when a trace begins is in it from there on", "[device]") {
  trace::expect();
  const Range late("late"), later("later");
  const Tracing tracing;
  { const Range inside("inside"); }
  const json events = json::parse(tracing.json("p"))["traceEvents"];
  REQUIRE(events.size() == 5);
  CHECK(events[2]["name"] == "late");
  CHECK(events[2]["ts"] == 0.0);
  CHECK(events[3]["name"] == "later");
  CHECK(events[3]["ts"] == 0.0);
}

TEST_CASE("a trace without room for all has its steps and phases, and counts the others",
          "[device]") {
  const Tracing tracing(32);
  {
    const Range step("step");
    const Range phase("phase");
    for (int i = 0; i < 100; ++i) const Range op("op");
  }
  CHECK(tracing.dropped() == 72);
  std::map<std::string, int> counts;
  const json file = json::parse(tracing.json("p"));
  for (const json& event : file["traceEvents"]) ++counts[event["name"]];
  CHECK(counts["step"] == 1);
  CHECK(counts["phase"] == 1);
  CHECK(counts["op"] == 28);
  CHECK(file["otherData"]["dropped"] == 72);
}

TEST_CASE("a trace's message tells its steps and what did not fit, and an earlier file stays",
          "[train]") {
  const TinyRun run;
  const TrainConfig config =
      run.config("a", "num_train_steps = 30\nprofile = { steps = [10, 20] }\n");
  std::string said;
  const auto traced = [&](int64_t first, int64_t last) {
    said.clear();
    dist::run_ranks(dist::entry("single"), 1, [&](dist::Communicator& alone) {
      train::StepTrace trace(
          config, alone, [&](std::string_view line) { said = line; }, 16);
      for (int64_t step = first; step <= last; ++step) {
        trace.after(step - 1);
        trace.before(step);
        const Range range("step", cat(step));
        const Range phase("phase");
        for (int i = 0; i < 4; ++i) const Range op("op");
      }
      trace.end();
    });
  };
  const std::string path = join_path(config.run_folder(), "trace.json");
  traced(1, 11);
  CHECK(said == cat("traced steps 10 to 11 into ", path));
  const std::string earlier = read_file(path);
  traced(20, 25);
  CHECK(said == cat("traced step 20 into ", path, "; the earlier trace is trace.1.json now"));
  CHECK(read_file(join_path(config.run_folder(), "trace.1.json")) == earlier);
  traced(12, 14);
  CHECK(said == cat("traced steps 12 to 14 into ", path,
                    "; 2 spans did not fit; the earlier trace is trace.2.json now"));
  traced(21, 30);
  CHECK(said.empty());
}

TEST_CASE("the trace of a run that fails is told", "[train]") {
  const SmallRun run;
  const Ended failed = run.train({"--trainer.profile.steps=[1, 19]",
                                  "--optimizer.learning_rate=1e30", "--optimizer.warmup=0",
                                  "--optimizer.max_grad_norm=none", "--trainer.tracker=[\"log\"]"});
  REQUIRE(failed.code == 7);
  CHECK_THAT(read_file(run / "logs/run/run.log"), Catch::Contains("traced step"));
}

TEST_CASE("steps to trace that a run has not are refused, or said to be behind it", "[train]") {
  const SmallRun run;
  CHECK_THAT(run.train({"--trainer.profile.steps=[21, 22]"}).err,
             Catch::Contains("trainer.profile.steps = [21, 22] begins after the run's last step, "
                             "20") &&
                 Catch::Contains("allowed  1 to 20"));
  CHECK_THAT(run.train({"--trainer.profile.steps=[5, 4]"}).err,
             Catch::Contains("trainer.profile.steps = [5, 4] is not a first and a last step"));
  CHECK_THAT(run.train({"--trainer.watch.what=[]"}).err,
             Catch::Contains("allowed  grad_norm, param_norm, update_ratio, histogram") &&
                 Catch::Contains("hint     "));
  REQUIRE(run.train({"--trainer.num_train_steps=10"}).code == 0);
  const Ended behind =
      run.train({"--trainer.profile.steps=[5, 10]", "--trainer.num_train_steps=20"});
  CHECK(behind.code == 0);
  CHECK_THAT(behind.err, Catch::Contains("trainer.profile.steps = [5, 10]: none of them is still "
                                         "to be done, so there is no trace"));
}
