// Saving while training goes on.
#include "checkpoint/writer.h"

#include <catch2/catch.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "base/strings.h"
#include "support/checkpoint_state.h"
#include "support/fault.h"
#include "support/temporary_folder.h"
#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "checkpoint/manifest.h"

using namespace levanter;
using Catch::Contains;
using levanter::testing::CheckpointState;
using levanter::testing::failure_of;
using levanter::testing::TemporaryFolder;

namespace {
constexpr int64_t kScale = 20000;  // tensors of several pieces, about 10 MB in all
}

TEST_CASE("a save holds the state of its beginning, however much staging there is", "[train]") {
  CheckpointState state(kScale);
  const std::string first_hash = CheckpointState::hash_at(1, kScale);
  for (const int64_t staging : {int64_t{0}, int64_t{1} << 20, int64_t{3} << 20, state.bytes()}) {
    const TemporaryFolder folder;
    CheckpointWriter writer(folder.path(), staging);
    CHECK(writer.staging_bytes() == staging);
    state.fill(1);
    writer.begin(state.contents(1));
    writer.before_update();
    for (int64_t step = 2; step <= 4; ++step) {
      state.fill(step);  // the update
      writer.before_update();
    }
    writer.wait();
    const auto report = writer.take_report();
    REQUIRE(report);
    CHECK(report->step == 1);
    CHECK(report->bytes > state.bytes() / 2);
    CHECK_FALSE(writer.take_report());
    const Checkpoint checkpoint = read_checkpoint(report->folder);
    CHECK(checkpoint.params_hash() == first_hash);
    // The optimizer's tensors come last, so they are what the staging held.
    std::vector<std::byte> read(static_cast<size_t>(state.optimizer()[0].bytes()));
    checkpoint.load_tensor("first/wte.weight", read);
    state.fill(1);
    CHECK(std::equal(read.begin(), read.end(), state.optimizer()[0].data));
  }
}

TEST_CASE("saves follow one another and retire the temporary ones", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state(100);
  {
    CheckpointWriter writer(folder.path(), 1 << 16);
    writer.before_update();  // nothing is under way
    writer.wait();
    CHECK_FALSE(writer.take_report());
    for (int64_t step = 1; step <= 20; ++step) {
      writer.before_update();
      state.fill(step);
      writer.begin(state.contents(step, step % 10 == 0));
    }
  }  // the destructor waits
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"step-10", "step-20"});
  CHECK(read_checkpoint(folder / "step-10").params_hash() == CheckpointState::hash_at(10, 100));
  CHECK(read_checkpoint(folder / "step-20").params_hash() == CheckpointState::hash_at(20, 100));
}

TEST_CASE("a writer's files are those of a plain save", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state(kScale / 10);
  const std::string plain = save_checkpoint(folder / "plain", state.contents(1)).folder;
  CheckpointWriter writer(folder / "threaded", state.bytes());
  writer.begin(state.contents(1));
  writer.before_update();
  writer.wait();
  for (const std::string& name : list_directory(plain))
    CHECK(read_file(join_path(plain, name)) == read_file(folder / ("threaded/step-1/" + name)));
}

TEST_CASE("a permanent save that fails is made of the same state when it can be", "[train]") {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 0;
    try {
      std::signal(SIGXFSZ, SIG_IGN);
      CheckpointState state(kScale);
      CheckpointWriter writer(folder.path(), state.bytes());
      const rlimit small{3 << 20, RLIM_INFINITY}, none{RLIM_INFINITY, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &small);
      state.fill(1);
      writer.begin(state.contents(1));
      std::string problem;
      for (int64_t step = 2; problem.empty(); ++step) {
        writer.before_update();
        state.fill(step);
        problem = writer.take_problem();
      }
      if (problem.find("cannot write") == problem.npos) code |= 1;
      if (!writer.retrying() || writer.take_report() || !writer.take_problem().empty()) code |= 2;
      ::setrlimit(RLIMIT_FSIZE, &none);
      writer.wait();
      if (!writer.take_report() || writer.retrying()) code |= 4;
      // A temporary one is not tried again.
      ::setrlimit(RLIMIT_FSIZE, &small);
      writer.begin(state.contents(2, false));
      if (failure_of(ErrorKind::kIo, [&] { writer.wait(); }).empty()) code |= 8;
      if (!writer.take_problem().empty()) code |= 16;
      // One that never can be fails after a last try.
      writer.begin(state.contents(3));
      if (failure_of(ErrorKind::kIo, [&] { writer.wait(); }).empty()) code |= 32;
    } catch (...) {
      code = 99;
    }
    ::_exit(code);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"step-1"});
  CHECK(read_checkpoint(folder / "step-1").params_hash() == CheckpointState::hash_at(1, kScale));
}

TEST_CASE("a permanent save whose other part fails at first is made of the same state", "[train]") {
  const TemporaryFolder folder;
  const std::string checkpoints = folder / "checkpoints";
  CheckpointState state(100);
  CheckpointWriter first(checkpoints, state.bytes()), second("", state.bytes());
  state.fill(3);
  CheckpointContents contents = state.contents(3, true);
  const auto optimizer = contents.optimizer;
  contents.optimizer = optimizer.first(2);
  contents.part = {.count = 2, .key = "a", .patience = 10};
  SavePart part = first.begin(contents);
  part.index = 1;
  // A folder stands where the second's file is to be.
  const std::string in_the_way = join_path(part.folder, file_of_part(kOptimizerFile, 1, 2));
  make_directories(in_the_way);
  contents.optimizer = optimizer.subspan(2);
  contents.part = part;
  second.begin(contents);
  first.before_update();
  second.before_update();
  state.fill(4);
  while (!first.retrying() || !second.retrying()) ::usleep(1000);
  CHECK_THAT(first.take_problem(), Contains("rank 1 has not saved its part"));
  remove_tree(in_the_way);
  second.wait();
  first.wait();
  CHECK(first.take_report());
  CHECK(list_directory(checkpoints) == std::vector<std::string>{"step-3"});
  CHECK(read_checkpoint(join_path(checkpoints, "step-3")).params_hash() ==
        CheckpointState::hash_at(3, 100));
  CHECK(verify_checkpoint(checkpoints).ok);
  CHECK_FALSE(path_exists(join_path(checkpoints, cat("step-3/", part_file(1)))));
}

TEST_CASE("who waits for a save hears how far it is, of each save apart", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state(100);
  CheckpointWriter first(folder / "checkpoints", state.bytes()), second("", state.bytes());
  std::vector<int64_t> pieces;
  for (const int64_t step : {int64_t{1}, int64_t{2}}) {
    CheckpointContents contents = state.contents(step, true);
    const auto optimizer = contents.optimizer;
    contents.optimizer = optimizer.first(2);
    contents.part = {.count = 2, .key = cat(step), .patience = 30};
    SavePart part = first.begin(contents);
    part.index = 1;
    contents.optimizer = optimizer.subspan(2);
    contents.part = part;
    bool begun = false;  // the other part, without which the save does not end
    first.wait([&](const Progress& progress) {
      CHECK(std::string(progress.what) == "saving");
      CHECK(progress.total > 0);
      if (std::exchange(begun, true)) return;
      pieces.push_back(progress.piece);
      second.begin(contents);
      second.wait();
    });
    CHECK(begun);
    CHECK(first.take_report());
  }
  REQUIRE(pieces.size() == 2);
  CHECK(pieces[0] != pieces[1]);
}

TEST_CASE("a save that fails is told at the next call, once, and the writer goes on", "[train]") {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 0;
    try {
      std::signal(SIGXFSZ, SIG_IGN);
      CheckpointState state(kScale);
      CheckpointWriter writer(folder.path(), 1 << 20);
      writer.begin(state.contents(1));
      writer.wait();
      const rlimit small{3 << 20, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &small);
      for (int call = 0; call < 3; ++call) {
        writer.begin(state.contents(2));
        const std::string text = failure_of(ErrorKind::kIo, [&] {
          // The update may come before the failure; then a later call tells.
          writer.before_update();
          if (call == 1)
            writer.begin(state.contents(3));
          else
            writer.wait();
        });
        if (text.find("cannot write") == text.npos) code |= 1;
        if (!failure_of(ErrorKind::kIo, [&] { writer.wait(); }).empty()) code |= 2;
        if (writer.take_report()) code |= 4;
        if (list_directory(folder.path()) != std::vector<std::string>{"step-1"}) code |= 8;
      }
      const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &none);
      writer.begin(state.contents(4));
      writer.wait();
      if (list_checkpoints(folder.path()) != std::vector<int64_t>{1, 4}) code |= 16;
    } catch (...) {
      code = 99;
    }
    ::_exit(code);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(verify_checkpoint(folder.path()).ok);
}
