// The folder of a run's checkpoints.
#include "checkpoint/folder.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/files.h"
#include "base/strings.h"
#include "support/checkpoint_state.h"
#include "support/temporary_folder.h"
#include "checkpoint/manifest.h"

using namespace levanter;
using Catch::Contains;
using levanter::testing::TemporaryFolder;

namespace {

void make_checkpoint(const TemporaryFolder& folder, int64_t step, bool permanent) {
  Manifest manifest;
  manifest.step = step;
  manifest.permanent = permanent;
  make_directories(step_folder(folder.path(), step));
  write_file_atomic(join_path(step_folder(folder.path(), step), "manifest.json"), manifest.text());
}

}  // namespace

TEST_CASE("a step folder's name gives its step", "[train]") {
  CHECK(step_folder("runs/x/checkpoints", 20) == "runs/x/checkpoints/step-20");
  CHECK(step_of("step-20") == 20);
  CHECK(step_of("step-0") == 0);
  for (const char* other : {"step-", "step--1", "step-007", "step-5x", "steps-5", "step-5.tmp-1-2",
                            "step-99999999999999999999"})
    CHECK_FALSE(step_of(other));
}

TEST_CASE("complete checkpoints are listed by number", "[train]") {
  const TemporaryFolder folder;
  for (const int64_t step : {100, 20, 3}) make_checkpoint(folder, step, true);
  make_directories(folder / "step-500");
  make_directories(folder / "notes");
  CHECK(list_checkpoints(folder.path()) == std::vector<int64_t>{3, 20, 100});
  CHECK(list_checkpoints(folder / "none").empty());
}

TEST_CASE("a list beside a run that replaces its checkpoint has always one", "[train]") {
  const TemporaryFolder folder;
  // Folders to look into first leave time between the names and the look at the run's manifest.
  for (int i = 0; i < 1000; ++i) make_directories(folder / cat("step-", 1'000'000 + i));
  std::atomic<bool> done = false;
  make_checkpoint(folder, 2, false);
  std::thread run([&] {
    for (int64_t step = 3; !done; ++step) {
      make_checkpoint(folder, step, false);
      remove_checkpoint(step_folder(folder.path(), step - 1));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  int missed = 0;
  int64_t latest = 0;
  // Until many were replaced meanwhile, however slow the machine is.
  for (int i = 0; latest < 100 && i < 1'000'000; ++i) {
    const std::vector<int64_t> steps = list_checkpoints(folder.path());
    missed += steps.empty() || steps.back() < latest ? 1 : 0;
    if (!steps.empty()) latest = steps.back();
  }
  done = true;
  run.join();
  CHECK(missed == 0);
  CHECK(latest >= 100);
}

TEST_CASE("what a killed process left is cleaned, the rest stays", "[train]") {
  const TemporaryFolder folder;
  make_checkpoint(folder, 3, true);
  make_directories(folder / "step-4");
  write_file_atomic(folder / "step-4/model.safetensors", "half of it");
  make_directories(temporary_name(folder / "step-3") + "/below");
  write_file_atomic(folder / "mine.txt", "");
  const std::vector<std::string> lines = clean_leftovers(folder.path());
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"mine.txt", "step-3"});
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[0], Contains("removed " + folder / "step-3"));
  CHECK(lines[1] == cat("removed ", folder / "step-4", ", a checkpoint that was never completed"));
  CHECK(clean_leftovers(folder / "none").empty());
}

TEST_CASE("what is not ours is left in a folder without a manifest, and named", "[train]") {
  const TemporaryFolder folder;
  const auto make = [&](const std::string& step) {
    make_directories(folder / step);
    for (const char* name :
         {"config.toml", "tokenizer.json", "model.safetensors", "optimizer.safetensors"})
      write_file_atomic(folder / cat(step, "/", name), name);
  };
  make("step-1");
  for (const char* step : {"step-2", "step-3", "step-4"}) make(step);
  write_file_atomic(folder / "step-2/model_ema.safetensors", "mine");
  write_file_atomic(folder / "step-2/notes.txt", "mine");
  make_directories(folder / "step-3/model-plots.safetensors");
  REQUIRE(::symlink("nowhere", (folder / "step-4/manifest.json").c_str()) == 0);
  make_directories(folder / "step-5");
  REQUIRE(::symlink("step-2", (folder / "step-6").c_str()) == 0);
  make_directories(folder / "step-9.tmp-2024-11");
  const std::vector<std::string> lines = clean_leftovers(folder.path());
  CHECK(list_directory(folder.path()) ==
        std::vector<std::string>{"step-2", "step-3", "step-4", "step-6", "step-9.tmp-2024-11"});
  CHECK(list_directory(folder / "step-2").size() == 6);
  REQUIRE(lines.size() == 6);
  CHECK_THAT(lines[0], Contains("removed " + folder / "step-1"));
  CHECK(lines[1] == cat("left ", folder / "step-2",
                        ", which is no checkpoint: it holds model_ema.safetensors, notes.txt"));
  CHECK_THAT(lines[2], Contains("it holds model-plots.safetensors"));
  CHECK_THAT(lines[3], Contains("it holds manifest.json"));
  CHECK_THAT(lines[4], Contains("removed " + folder / "step-5"));
}

TEST_CASE("notes beside a checkpoint outlive it, and a save of its step", "[train]") {
  const TemporaryFolder folder;
  const testing::CheckpointState state;
  make_directories(folder / "step-1");
  write_file_atomic(folder / "step-1/notes.txt", "mine");
  CHECK(save_checkpoint(folder.path(), state.contents(1, false)).problem.empty());
  CHECK(save_checkpoint(folder.path(), state.contents(1, false)).problem.empty());  // replaces it
  CHECK(read_file(folder / "step-1/notes.txt") == "mine");
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"step-1"});
  const SaveReport next = save_checkpoint(folder.path(), state.contents(2, false));
  CHECK_THAT(next.problem, Contains("left " + folder / "step-1") && Contains("notes.txt"));
  CHECK(list_directory(folder / "step-1") == std::vector<std::string>{"notes.txt"});
  CHECK(list_checkpoints(folder.path()) == std::vector<int64_t>{2});
}

TEST_CASE("old temporary checkpoints go, permanent, damaged and rescued ones stay", "[train]") {
  const TemporaryFolder folder;
  make_checkpoint(folder, 1, true);
  for (const int64_t step : {2, 3, 4, 5, 6}) make_checkpoint(folder, step, false);
  write_file_atomic(folder / "step-3/manifest.json", "damaged");
  std::string text = read_file(folder / "step-4/manifest.json");
  text.resize(text.rfind(",\n\"xxh3\""));
  text.replace(text.find("temporary"), 9, "permanent");
  write_file_atomic(folder / "step-4/manifest.json", text + "}");
  remove_temporaries(folder.path(), {5, 2});
  CHECK(list_checkpoints(folder.path()) == std::vector<int64_t>{1, 2, 3, 4, 5});
  remove_checkpoint(folder / "step-1");
  CHECK_FALSE(path_exists(folder / "step-1"));
  CHECK_NOTHROW(remove_checkpoint(folder / "step-1"));
}
