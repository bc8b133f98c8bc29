// Whole runs under a guard: the same bits however they are shared out, stopped and begun again.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "support/fault.h"
#include "support/rank_processes.h"
#include "support/planted_run.h"
#include "train/guard/rollbacks.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;
using train::Outcome;

namespace {

constexpr const char* kEveryStep = "checkpointer = { keep = [{ every = 1 }] }\n";
constexpr int64_t kSteps = PlantedRun::kSteps;

/// Finds a spike in every other step.
constexpr const char* kSkipping =
    "on_spike = \"skip\"\nloss_spike = 1.0\nnorm_spike = 1.1\nwindow = 4\n";
constexpr const char* kRolling =
    "on_spike = \"rollback\"\nloss_spike = 1.12\nwindow = 6\nrollback_steps = 3\n";

/// Of which three have a part of the parameters each.
std::string ranks(int64_t n, int64_t threads) {
  return cat("communicator = \"threads\"\nranks = ", n, "\nthreads = ", threads,
             n == 3 ? "\nshard = \"parameters\"\n" : "\n");
}

/// Some steps of a run that saves all of them are skipped: these and no others leave the state.
void check_skips(const PlantedRun& run, const std::string& id) {
  const std::vector<json> lines = run.metrics(id);
  REQUIRE(std::ssize(lines) == kSteps);
  const auto state = [&](size_t step) {
    return verify_checkpoint(run.at(id, cat("checkpoints/step-", step))).params_hash;
  };
  int64_t skipped = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const bool skips = lines[i]["optim/skipped_step"] != 0;
    CHECK((state(i + 1) == state(i)) == skips);
    skipped += skips;
    if (skipped > 0) CHECK(lines[i]["guard/skipped_steps"] == skipped);
  }
  CHECK(skipped >= 3);
  CHECK(skipped < kSteps - 3);
}

}  // namespace

TEST_CASE("a spike is skipped with every bit as it was, on any ranks and after any stop",
          "[train]") {
  const PlantedRun run;
  const std::string expected = run.trained(run.guarded("one", kSkipping, kEveryStep));
  check_skips(run, "one");
  run.trained(run.guarded("reference", kSkipping, cat("device = \"reference\"\n", kEveryStep)));
  check_skips(run, "reference");
  CHECK(run.trained(run.guarded("plain", "")) != expected);

  CHECK(run.trained(run.guarded("threads", kSkipping, "threads = 2\n")) == expected);
  for (const int64_t n : {2, 3})
    CHECK(run.trained(run.guarded(cat("ranks-", n), kSkipping, ranks(n, 1))) == expected);
  for (const int64_t step : {2, 7, 12}) {
    run.forget_after("one", step);
    CHECK(run.trained(run.guarded("one", kSkipping, kEveryStep)) == expected);
  }
}

TEST_CASE("limits that nothing reaches change no bit", "[train]") {
  const PlantedRun run;
  const std::string expected = run.trained(run.guarded("off", "", kEveryStep));
  CHECK(run.trained(run.guarded(
            "high", "on_spike = \"stop\"\nloss_spike = 100\nnorm_spike = 100\nwindow = 4\n")) ==
        expected);
  const auto extra = [&](const std::string& id) {
    return json::parse(find_latest(run.at(id, "checkpoints")).checkpoint->manifest().extra_json);
  };
  CHECK_FALSE(extra("off").contains("guard"));
  CHECK(extra("high").contains("guard"));
  CHECK_FALSE(path_exists(run.at("high", "bundles")));
}

TEST_CASE("a run rolls back to the same bits, whatever checkpoints it has and on any ranks",
          "[train]") {
  const PlantedRun run;
  const std::string expected = run.trained(run.guarded("one", kRolling, kEveryStep));
  const auto rollbacks = train::read_rollbacks(run.at("one", ""));
  REQUIRE(rollbacks);
  REQUIRE(rollbacks->size() == 1);
  const train::Rollback& rollback = rollbacks->front();
  CHECK(rollback.step - 1 - rollback.back_to == 3);
  CHECK(rollback.first == rollback.back_to);
  const std::vector<json> lines = run.metrics("one");
  REQUIRE(std::ssize(lines) == kSteps);  // each step once
  CHECK(lines.back()["guard/rollbacks"] == 1);
  CHECK(run.trained(run.guarded("plain", "")) != expected);

  CHECK(run.trained(run.guarded("anew", kRolling, "checkpointer = { keep = [] }\n")) == expected);
  CHECK(run.trained(run.guarded("some", kRolling,
                                "threads = 2\ncheckpointer = { keep = [{ every = 4 }] }\n")) ==
        expected);
  for (const int64_t n : {2, 3})
    CHECK(run.trained(run.guarded(cat("ranks-", n), kRolling, cat(ranks(n, 1), kEveryStep))) ==
          expected);
  const std::string list = read_file(run.at("one", "rollbacks.json"));
  for (const char* id : {"anew", "some", "ranks-2", "ranks-3"})
    CHECK(read_file(run.at(id, "rollbacks.json")) == list);

  for (const int64_t step : {rollback.back_to - 2, rollback.back_to + 1, kSteps - 1}) {
    run.forget_after("one", step);
    CHECK(run.trained(run.guarded("one", kRolling, kEveryStep)) == expected);
    CHECK(read_file(run.at("one", "rollbacks.json")) == list);
  }
}

TEST_CASE("a run that was killed as it rolled back abandons the checkpoints since", "[train]") {
  const PlantedRun run;
  const std::string expected = run.trained(run.guarded("straight", kRolling));
  const auto rollbacks = train::read_rollbacks(run.at("straight", ""));
  REQUIRE(rollbacks);
  std::string stopping = kRolling;
  stopping.replace(stopping.find("rollback"), 8, "stop");
  const TrainConfig config = run.guarded("killed", stopping, kEveryStep);
  const std::string error = failure_of(ErrorKind::kGuard, [&] { train::train(config, {}); });
  CHECK_THAT(error, Catch::Contains("more than 1.12 times the median"));
  CHECK_THAT(error, Catch::Contains("the step was not taken"));
  train::write_rollbacks(run.at("killed", ""), *rollbacks);
  const int64_t spike = rollbacks->front().step;
  REQUIRE(list_checkpoints(run.at("killed", "checkpoints")).back() == spike - 1);
  CHECK(run.trained(run.guarded("killed", kRolling)) == expected);
}

TEST_CASE("a run rolls back where its ranks are processes", "[train]") {
  const PlantedRun run;
  const std::string expected = run.trained(run.guarded("one", kRolling));
  const std::string config =
      run.file("two", kRolling, cat(ranks(2, 1), "checkpointer = { keep = [{ every = 2 }] }\n"));
  for (const Ended& end : RankProcesses({{config}, {config}}).wait()) {
    INFO(end.err);
    CHECK(end.code == 0);
  }
  CHECK(run.hash("two") == expected);
}

TEST_CASE("rollbacks that do not help end, with their number", "[train]") {
  const PlantedRun run;
  TrainConfig config = load_train_config(
      run.file("a", "on_nan = \"rollback\"\nmax_rollbacks = 2\nrollback_steps = 1\n"),
      std::vector<std::string>{"--optimizer.learning_rate=1e30", "--optimizer.warmup=0"});
  const std::string error = failure_of(ErrorKind::kGuard, [&] { train::train(config, {}); });
  CHECK_THAT(error, Catch::Contains("the run has rolled back 2 times before"));
  CHECK_THAT(error, Catch::Contains("optimizer.learning_rate"));
  CHECK(train::read_rollbacks(run.at("a", ""))->size() == 2);
}

TEST_CASE("a run that is begun with another's checkpoint leaves out what that one did", "[train]") {
  const PlantedRun run;
  const std::string expected =
      run.trained(run.guarded("one", kRolling, "checkpointer = { keep = [{ every = 16 }] }\n"));
  TrainConfig config = run.guarded("two", kRolling);
  config.start_from.kind = StartKind::kCheckpoint;
  config.start_from.path = config::Path{"", run.at("one", "checkpoints/step-16")};
  CHECK(run.trained(config) == expected);
}
