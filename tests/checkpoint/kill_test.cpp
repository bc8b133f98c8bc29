// Killed at any moment, a run finds a good checkpoint.
#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "support/checkpoint_state.h"
#include "support/temporary_folder.h"
#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "checkpoint/writer.h"
#include "train/run_folder.h"

using namespace levanter;
using levanter::testing::CheckpointState;
using levanter::testing::TemporaryFolder;

namespace {

constexpr int64_t kScale = 1000;  // half a megabyte a checkpoint

/// Trains from the latest checkpoint on, saving at every step, until it is killed. Each third save
/// is of the step before it once more, so that replacing is interrupted too.
[[noreturn]] void train(const std::string& run_path) {
  int code = 0;
  try {
    const RunFolder run(run_path);
    CheckpointState state(kScale);
    const FoundCheckpoint found = find_latest(run.checkpoints());
    if (!found.problems.empty()) code = 1;
    int64_t step = found.checkpoint ? found.checkpoint->step() : 0;
    CheckpointWriter writer(run.checkpoints(), 1 << 18);
    while (code == 0) {
      writer.before_update();
      state.fill(++step);
      writer.begin(state.contents(step, step % 10 == 0));
      if (step % 3 == 0) writer.begin(state.contents(step, step % 10 == 0));
    }
  } catch (...) {
    code = 2;
  }
  ::_exit(code);
}

/// Kills such a process so many times; a fault is a Catch failure.
void kill_and_resume(int times) {
  const TemporaryFolder folder;
  std::mt19937 random(20240607);
  int64_t last = 0;
  // On a busy machine no save may be done in so short a life: further ones are longer.
  for (int i = 0; i < times || (last == 0 && i < times + 8); ++i) {
    const pid_t child = ::fork();
    if (child == 0) train(folder.path());
    const int64_t milliseconds = static_cast<int64_t>(5 + random() % 120) << std::max(0, i - times);
    const timespec pause{milliseconds / 1000, milliseconds % 1000 * 1'000'000};
    ::nanosleep(&pause, nullptr);
    REQUIRE(::kill(child, SIGKILL) == 0);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));  // it ended by the signal, not by a fault of its own

    const FoundCheckpoint found = find_latest(folder / "checkpoints");
    REQUIRE(found.problems.empty());
    if (!found.checkpoint) continue;
    REQUIRE(found.checkpoint->step() >= last);
    last = found.checkpoint->step();
    REQUIRE(found.checkpoint->params_hash() == CheckpointState::hash_at(last, kScale));
  }
  CHECK(last > 0);
  const RunFolder run(folder.path());  // the last start cleans
  for (const std::string& name : list_directory(run.checkpoints())) CHECK(step_of(name));
}

}  // namespace

TEST_CASE("a process killed while saving leaves a good checkpoint", "[train]") {
  kill_and_resume(3);
}

TEST_CASE("a process killed at many moments always leaves a good checkpoint", "[.slow][train]") {
  kill_and_resume(200);
}
