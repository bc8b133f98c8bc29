// What a run leaves beside its checkpoints, on disks that are full and under people who tidy up:
// none of it may end the run.
#include <catch2/catch.hpp>

#include <signal.h>
#include <time.h>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/fault.h"
#include "support/program.h"
#include "checkpoint/folder.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;
using nlohmann::json;

namespace {

constexpr int kRequeue = 75;

json read_json(const std::string& path) { return json::parse(read_file(path)); }

std::string params_hash(const SmallRun& run, const std::string& folder = "logs/run") {
  return read_json(run / join_path(folder, "summary.json"))["params_hash"];
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

/// `levanter train` on the folder's run.toml, for long.
std::vector<std::string> long_run(const SmallRun& run, const std::string& interval = "10ms",
                                  int64_t keep_every = 1000000) {
  return {"train",
          "--config",
          run / "run.toml",
          "--trainer.num_train_steps=1000000",
          "--trainer.steps_per_eval=1000000",
          cat("--trainer.checkpointer.save_interval=", interval),
          cat("--trainer.checkpointer.keep=[{every=", keep_every, "}]")};
}

/// The steps in metrics.jsonl are 1, 2, 3, ...
bool complete(const std::string& path) {
  int64_t expected = 0;
  for (const std::string& line : split(read_file(path), '\n'))
    if (!line.empty() && json::parse(line)["step"] != ++expected) return false;
  return expected > 0;
}

void wait_a_moment() {
  constexpr timespec kMoment{0, 200'000'000};
  ::nanosleep(&kMoment, nullptr);
}

}  // namespace

TEST_CASE("metrics that can't be written are said once and counted, and the run goes on",
          "[commands]") {
  const SmallRun run, usual;
  make_directories(run / "logs/run/metrics.jsonl/mine");
  write_file_atomic(run / "logs/run/tensorboard", "mine");
  const Ended ended = run.train();
  INFO(ended.err);
  CHECK(ended.code == 0);
  CHECK(count(ended.err, "the run goes on") == 2);
  CHECK_THAT(ended.err, Contains("metrics.jsonl: 20 lines could not be written\n"));
  CHECK_THAT(ended.err, Contains("tensorboard: "));
  CHECK(read_file(run / "logs/run/tensorboard") == "mine");
  REQUIRE(usual.train().code == 0);
  CHECK(params_hash(run) == params_hash(usual));
}

TEST_CASE("a disk that is full for a while ends no run and costs no line", "[commands]") {
  const SmallRun run;
  const std::string metrics = run / "logs/run/metrics.jsonl";
  Program program(long_run(run));
  REQUIRE(wait_for_growth(run / "logs/run/checkpoints", 0));
  REQUIRE(wait_for_growth(metrics, 2000));
  program.limit_file_bytes(1000);
  wait_a_moment();
  const int64_t stuck = file_size(metrics);
  program.limit_file_bytes(-1);
  REQUIRE(wait_for_growth(metrics, stuck));
  program.signal(SIGTERM);
  const Ended ended = program.wait();
  INFO(ended.err);
  CHECK(ended.code == kRequeue);
  CHECK(count(ended.err, "metrics.jsonl: file too large; the run goes on") == 1);
  CHECK(count(ended.err, "metrics.jsonl is written again") == 1);
  CHECK_THAT(ended.err, Contains(" is not saved: ") && Contains("saves failed on the way"));
  CHECK(complete(metrics));
  CHECK(run({"verify", "--checkpoint", "logs/run"}).code == 0);
  const int64_t done = read_json(run / "logs/run/summary.json")["global_step"];
  const Ended resumed = run.train({cat("--trainer.num_train_steps=", done + 1)});
  CHECK(resumed.code == 0);
  CHECK_THAT(resumed.err, !Contains("missing"));
}

TEST_CASE("a permanent checkpoint that a full disk puts off is still that of its step",
          "[commands]") {
  const SmallRun run;
  constexpr int64_t kEvery = 10;
  const std::string metrics = run / "logs/run/metrics.jsonl";
  Program program(long_run(run, "1h", kEvery));
  REQUIRE(wait_for_growth(metrics, 2000));
  program.limit_file_bytes(12000);  // less than the parameters take, enough for what it says
  wait_a_moment();                  // longer than some permanent checkpoints take to fall due
  program.limit_file_bytes(-1);
  REQUIRE(wait_for_growth(metrics, file_size(metrics) + 100000));
  program.signal(SIGTERM);
  const Ended ended = program.wait();
  INFO(ended.err);
  CHECK(ended.code == kRequeue);
  CHECK_THAT(ended.err, Contains(" is not saved yet: ") && Contains("kept in memory"));
  for (const std::string& line : split(ended.err, '\n')) {
    const size_t at = line.find(" is not saved"), step = line.find("step ");
    if (at != line.npos) CHECK(std::stoll(line.substr(step + 5)) % kEvery == 0);
  }
  std::vector<int64_t> steps = list_checkpoints(run / "logs/run/checkpoints");
  REQUIRE(steps.size() >= 2);
  steps.pop_back();  // where it was stopped
  for (const int64_t step : steps) CHECK(step % kEvery == 0);
}

TEST_CASE("metrics that others cut or take away go on without zeros, and the gap is named",
          "[commands]") {
  const SmallRun run;
  const std::string metrics = run / "logs/run/metrics.jsonl";
  Program program(long_run(run));
  REQUIRE(wait_for_growth(metrics, 20000));
  LogFile(metrics).truncate(0);
  REQUIRE(wait_for_growth(metrics, 10000));
  rename_path(metrics, metrics + ".1");
  REQUIRE(wait_for_growth(metrics, 10000));
  program.signal(SIGTERM);
  CHECK(program.wait().code == kRequeue);
  const std::string text = read_file(metrics);
  CHECK(text.find('\0') == text.npos);
  const int64_t first = json::parse(split(text, '\n').front())["step"],
                done = read_json(run / "logs/run/summary.json")["global_step"];
  CHECK(first > 1);
  const Ended resumed = run.train({cat("--trainer.num_train_steps=", done + 1)});
  CHECK(resumed.code == 0);
  CHECK_THAT(resumed.err, Contains(cat("steps 1-", first - 1, " are missing in metrics.jsonl\n")));
}

TEST_CASE("a run begun with another's state never had the steps before", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto train = [&](int64_t steps) {
    return run.train({"--trainer.id=next", cat("--trainer.num_train_steps=", steps),
                      "--start_from={kind=\"checkpoint\", path=\"logs/run\"}"});
  };
  for (const int64_t steps : {25, 30}) {
    const Ended ended = train(steps);
    CHECK(ended.code == 0);
    CHECK_THAT(ended.err, !Contains("missing"));
  }
  write_file_atomic(run / "logs/next/metrics.jsonl", "");
  CHECK_THAT(train(31).err, Contains("steps 21-30 are missing in metrics.jsonl"));
}

TEST_CASE("a run introduces itself and says what can be done with it", "[commands]") {
  const SmallRun run;
  const Ended ended = run.train();
  INFO(ended.err);
  const auto summary = read_json(run / "logs/run/summary.json");
  CHECK(summary["id"] == "run");
  CHECK(summary["status"] == "finished");
  CHECK_THAT(ended.err, Contains(cat("gpt2: ", format_count(summary["parameter_count"]),
                                     " parameters, a vocabulary of 15, in logs/run\n")));
  CHECK_THAT(ended.err,
             Contains(cat("data: ", format_count(summary["dataset/total_tokens"]), " tokens, ")) &&
                 Contains(" to validate with; 64 a step, ") && Contains(" steps an epoch, "));
  CHECK_THAT(ended.err, Contains("finished: levanter generate --checkpoint logs/run\n"));
  CHECK(run({"generate", "--checkpoint", "logs/run", "--max-new-tokens", "5"}).code == 0);

  const Ended longer = run.train({"--trainer.num_train_steps=40"});
  CHECK_THAT(longer.err, Contains("the learning rate of step 21 goes from ") &&
                             Contains(", since the schedule is stretched from 20 to 40 steps\n"));
  CHECK(run.train({"--trainer.num_train_steps=50", "--optimizer.learning_rate=1e30"}).code == 2);
  CHECK(run.train({"--trainer.id=bad", "--optimizer.learning_rate=1e30"}).code == 7);
  CHECK(read_json(run / "logs/bad/summary.json")["status"] == "failed");
}

TEST_CASE("the checkpoint of the lowest validation loss is kept until there is a better one",
          "[commands]") {
  const SmallRun run;
  // A rate so high that the loss soon rises again.
  const auto train = [&](const std::string& id, int64_t steps, const std::string& more = "") {
    std::vector<std::string> words = {
        cat("--trainer.id=", id),      cat("--trainer.num_train_steps=", steps),
        "--trainer.steps_per_eval=2",  "--trainer.checkpointer.keep=[{every=100}]",
        "--optimizer.learning_rate=2", "--optimizer.lr_schedule=constant",
        "--optimizer.warmup=0"};
    if (!more.empty()) words.push_back(more);
    const Ended ended = run.train(words);
    INFO(ended.err);
    CHECK(ended.code == 0);
    return ended.err;
  };
  const std::string said = train("run", 20);
  const json summary = read_json(run / "logs/run/summary.json");
  const int64_t best = summary["best/eval/loss_step"];
  REQUIRE(best < 20);
  const std::string checkpoints = run / "logs/run/checkpoints";
  CHECK(list_directory(checkpoints) ==
        (best < 3 ? std::vector<std::string>{cat("step-", best), "step-20"}
                  : std::vector<std::string>{"step-20", cat("step-", best)}));
  CHECK_THAT(said, Contains(cat("was that of step ", best,
                                ": levanter generate --checkpoint logs/run/best\n")));
  for (const char* path : {"logs/run/best", "logs/run/checkpoints/best"}) {
    INFO(path);
    CHECK(json::parse(run({"verify", "--checkpoint", path, "--json"}).out)["step"] == best);
    const auto scored = json::parse(run({"eval", "--checkpoint", path, "--json"}).out);
    CHECK(scored["eval/loss"] == summary["best/eval/loss"]);
    CHECK(run({"generate", "--checkpoint", path, "--max-new-tokens", "5"}).code == 0);
  }
  // The folder alone is the latest.
  CHECK(json::parse(run({"verify", "--checkpoint", "logs/run", "--json"}).out)["step"] == 20);

  // In two starts: the second knows the best of the first, and leaves it.
  train("halves", 10);
  train("halves", 20);
  CHECK(list_directory(run / "logs/halves/checkpoints").size() >= 2);
  CHECK(json::parse(run({"verify", "--checkpoint", "logs/halves/best", "--json"}).out)["step"] ==
        best);
  CHECK(params_hash(run, "logs/halves") == params_hash(run));

  // Switched off it changes no bit.
  train("off", 20, "--trainer.checkpointer.keep_best=false");
  CHECK(list_directory(run / "logs/off/checkpoints") == std::vector<std::string>{"step-20"});
  CHECK(params_hash(run, "logs/off") == params_hash(run));
  const Ended none = run({"eval", "--checkpoint", "logs/off/best"});
  CHECK(none.code == 4);
  CHECK_THAT(none.err,
             Contains("there is no best checkpoint in logs/off") && Contains("keep_best = false"));
}
