// A run's own folder.
#include "train/run_folder.h"

#include <catch2/catch.hpp>

#include <cerrno>

#include "base/strings.h"
#include "support/checkpoint_state.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using Catch::Contains;
using levanter::testing::TemporaryFolder;

TEST_CASE("a run folder is made, and holds one process at a time", "[train]") {
  const TemporaryFolder base;
  const std::string path = base / "logs/nano";
  {
    const RunFolder run(path);
    CHECK(is_directory(run.checkpoints()));
    run.write_config("a = 1\n");
    CHECK(read_file(path + "/config.toml") == "a = 1\n");
    const std::string text =
        testing::failure_of(ErrorKind::kIo, [&] { const RunFolder second(path); });
    CHECK_THAT(text, Contains("is held by process"));
    CHECK_THAT(text, Contains("trainer.id"));
  }
  CHECK_NOTHROW(RunFolder(path));
}

TEST_CASE("opening a run folder removes what a killed process left", "[train]") {
  const TemporaryFolder base;
  make_directories(base / "checkpoints/step-5");
  write_file_atomic(base / "checkpoints/step-5/model.safetensors", "half");
  write_file_atomic(temporary_name(base / "summary.json"), "half");
  write_file_atomic(base / "metrics.jsonl", "{}\n");
  const RunFolder run(base.path());
  CHECK(list_directory(base.path()) ==
        std::vector<std::string>{"checkpoints", "lock", "metrics.jsonl"});
  CHECK(list_directory(run.checkpoints()).empty());
  REQUIRE(run.messages().size() == 2);
  CHECK_THAT(run.messages()[0], Contains("checkpoints/step-5"));
  CHECK_THAT(run.messages()[1], Contains("removed ") && Contains("summary.json."));
}

TEST_CASE("opening a run folder removes nothing of somebody else's", "[train]") {
  const TemporaryFolder base;
  for (const char* name : {"notes.tmp-2024-11", "checkpoints/step-7"}) {
    make_directories(base / name);
    write_file_atomic(base / cat(name, "/notes.txt"), "mine");
  }
  const RunFolder run(base.path());
  CHECK(path_exists(base / "notes.tmp-2024-11/notes.txt"));
  CHECK(path_exists(base / "checkpoints/step-7/notes.txt"));
  REQUIRE(run.messages().size() == 1);
  CHECK_THAT(run.messages()[0], Contains("step-7") && Contains("notes.txt"));
}

TEST_CASE("where there is no flock a run says what stands for it", "[train]") {
  const TemporaryFolder base;
  const auto flock_before = flock_call;
  flock_call = [](int, int) { return errno = ENOSYS, -1; };
  {
    const RunFolder run(base.path());
    REQUIRE(run.messages().size() == 1);
    CHECK_THAT(run.messages()[0], Contains("has no flock") && Contains("lock.held"));
    CHECK_THAT(testing::failure_of(ErrorKind::kIo, [&] { const RunFolder second(base.path()); }),
               Contains("is held by process"));
  }
  CHECK_FALSE(path_exists(base / "lock.held"));
  flock_call = flock_before;
}

TEST_CASE("a folder that cannot be made is an error that names it", "[train]") {
  const TemporaryFolder base;
  write_file_atomic(base / "file", "");
  CHECK_THAT(testing::failure_of(ErrorKind::kIo, [&] { RunFolder run(base / "file/run"); }),
             Contains(base / "file"));
}

TEST_CASE("a summary is flat and keeps the best evaluation", "[train]") {
  Summary summary;
  CHECK(summary.json() == "{\n}\n");
  summary.log({{"train/loss", 3}, {"eval/loss", 2.5}}, 10);
  summary.log({{"train/loss", 2}, {"eval/loss", 2.25}}, 20);
  summary.log({{"train/loss", 1}, {"eval/loss", 2.75}}, 30);
  summary.set("params_hash", "ab\"c");
  CHECK(summary.best_loss() == 2.25);
  CHECK(summary.best_step() == 20);
  CHECK(summary.json() ==
        "{\n  \"train/loss\": 1,\n  \"eval/loss\": 2.75,\n  \"global_step\": 30,\n"
        "  \"best/eval/loss\": 2.25,\n  \"best/eval/loss_step\": 20,\n"
        "  \"params_hash\": \"ab\\\"c\"\n}\n");
  Summary resumed;
  resumed.restore_best(2, 5);
  resumed.log({{"eval/loss", 2.5}}, 40);
  CHECK(resumed.best_step() == 5);
}

TEST_CASE("a run is finished when its last checkpoint and its summary say so", "[train]") {
  const TemporaryFolder base;
  constexpr int64_t kSteps = 100;
  CHECK_FALSE(is_finished(base / "none", kSteps));
  const RunFolder run(base.path());
  const testing::CheckpointState state;
  Summary summary;
  summary.log({{"train/loss", 1}}, kSteps);
  run.write_summary(summary);
  CHECK_FALSE(is_finished(base.path(), kSteps));
  save_checkpoint(run.checkpoints(), state.contents(kSteps));
  CHECK_FALSE(is_finished(base.path(), kSteps));  // its end was not reached
  summary.set("params_hash", "00");
  run.write_summary(summary);
  CHECK(is_finished(base.path(), kSteps));
  CHECK_FALSE(is_finished(base.path(), kSteps + 1));
  write_file_atomic(base / "summary.json", "{");
  CHECK_FALSE(is_finished(base.path(), kSteps));
}
