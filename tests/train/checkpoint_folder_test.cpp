// The folder of a run's checkpoints.
#include "train/checkpoint_folder.h"

#include <catch2/catch.hpp>

#include "base/files.h"
#include "support/temporary_folder.h"
#include "train/checkpoint_manifest.h"

using namespace levanter;
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

TEST_CASE("what a killed process left is cleaned, the rest stays", "[train]") {
  const TemporaryFolder folder;
  make_checkpoint(folder, 3, true);
  make_directories(folder / "step-4");
  write_file_atomic(folder / "step-4/model.safetensors", "half of it");
  make_directories(temporary_name(folder / "step-3") + "/below");
  write_file_atomic(folder / "mine.txt", "");
  clean_leftovers(folder.path());
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"mine.txt", "step-3"});
  CHECK_NOTHROW(clean_leftovers(folder / "none"));
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
  remove_temporaries(folder.path(), 5);
  CHECK(list_checkpoints(folder.path()) == std::vector<int64_t>{1, 3, 4, 5});
  remove_checkpoint(folder / "step-1");
  CHECK_FALSE(path_exists(folder / "step-1"));
  CHECK_NOTHROW(remove_checkpoint(folder / "step-1"));
}
