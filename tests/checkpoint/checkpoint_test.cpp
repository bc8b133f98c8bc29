// Saving a checkpoint: what is written, and what a failure leaves.
#include "checkpoint/checkpoint.h"

#include <catch2/catch.hpp>

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sched.h>

#include <bit>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "base/hash.h"
#include "compat/safetensors.h"
#include "support/checkpoint_state.h"
#include "support/fault.h"
#include "support/safetensors_file.h"
#include "support/temporary_folder.h"
#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "checkpoint/save.h"

using namespace levanter;
using Catch::Contains;
using levanter::testing::CheckpointState;
using levanter::testing::failure_of;
using levanter::testing::TemporaryFolder;

namespace {

bool same_tensors(const Checkpoint& checkpoint, const std::vector<Tensor>& tensors) {
  bool same = true;
  for (const Tensor& tensor : tensors) {
    std::vector<std::byte> read(static_cast<size_t>(tensor.bytes()));
    checkpoint.load({tensor.path, tensor.dtype, tensor.shape, read.data()});
    same &= read.empty() || std::memcmp(read.data(), tensor.data, read.size()) == 0;
  }
  return same;
}

/// Runs `call` in a child process and gives its result.
template <class Call>
int in_child(Call call) {
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 99;
    try {
      code = call();
    } catch (...) {
    }
    ::_exit(code);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("a saved checkpoint reads back to the bit", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state;
  state.fill(7);
  const SaveReport report = save_checkpoint(folder / "checkpoints", state.contents(7));
  CHECK(report.step == 7);
  CHECK(report.permanent);
  CHECK(report.problem.empty());
  CHECK(report.folder == folder / "checkpoints/step-7");
  CHECK(list_directory(report.folder) ==
        std::vector<std::string>{"config.toml", "manifest.json", "model.safetensors",
                                 "optimizer.safetensors", "tokenizer.json"});
  int64_t bytes = 0;
  for (const std::string& name : list_directory(report.folder))
    bytes += file_size(join_path(report.folder, name));
  CHECK(report.bytes == bytes);

  const Checkpoint checkpoint = read_checkpoint(report.folder);
  CHECK(checkpoint.step() == 7);
  CHECK(checkpoint.manifest().permanent);
  CHECK(checkpoint.manifest().config_hash == "c0ffee");
  CHECK(checkpoint.manifest().numerics == "cpu avx2 \"quoted\"");
  CHECK(checkpoint.manifest().extra_json == R"({"groups":2,"microbatches":4})");
  CHECK(checkpoint.config_toml() == state.contents(7).config_toml);
  CHECK(checkpoint.tokenizer() == state.contents(7).tokenizer);
  CHECK(same_tensors(checkpoint, state.model()));
  CHECK(same_tensors(checkpoint, state.optimizer()));
  CHECK(checkpoint.params_hash() == params_hash(state.model()));
}

TEST_CASE("a checkpoint's weights are a safetensors file", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  const std::string step = save_checkpoint(folder.path(), state.contents(1)).folder;
  const safetensors::File file(join_path(step, "model.safetensors"));
  CHECK(file.tensors().size() == state.model().size());
  const safetensors::Tensor* weight = file.find("wte.weight");
  REQUIRE(weight);
  const std::vector<std::byte> saved = safetensors::bytes_of(*weight);
  CHECK(std::memcmp(saved.data(), state.model()[0].data, saved.size()) == 0);
}

TEST_CASE("the same state gives the same files", "[train]") {
  const TemporaryFolder folder;
  CheckpointState one, two;
  const std::string a = save_checkpoint(folder / "a", one.contents(3)).folder;
  const std::string b = save_checkpoint(folder / "b", two.contents(3)).folder;
  for (const std::string& name : list_directory(a))
    CHECK(read_file(join_path(a, name)) == read_file(join_path(b, name)));
}

TEST_CASE("params_hash is that of the f32 bytes in the order of the paths", "[train]") {
  float first[] = {1, 2};
  double second[] = {0.5, 1e-40};  // rounds to a subnormal f32
  const auto view = [](std::string path, DType dtype, int64_t n, void* data) {
    return Tensor{std::move(path), dtype, {n}, static_cast<std::byte*>(data)};
  };
  const Tensor a = view("a.10", DType::f32, 2, first), b = view("a.9", DType::f64, 2, second);
  const float all[] = {1, 2, 0.5f, 1e-40f};
  Hasher expected(Hasher::Width::k128);
  expected.update(std::as_bytes(std::span(all)));
  CHECK(params_hash(std::vector{a, b}) == expected.hex());
  CHECK(params_hash(std::vector{b, a}) == expected.hex());
  // A byte above 127 sorts last, as an unsigned one.
  const Tensor c = view("a\xc3", DType::f32, 2, first);
  CHECK(params_hash(std::vector{c, b}) == params_hash(std::vector{b, c}));
  CHECK(params_hash(std::vector{c, b}) != expected.hex());
}

TEST_CASE("saving a step again replaces its checkpoint", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state;
  save_checkpoint(folder.path(), state.contents(5, false));
  state.fill(5);
  save_checkpoint(folder.path(), state.contents(5, true));
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"step-5"});
  const Checkpoint checkpoint = read_checkpoint(folder / "step-5");
  CHECK(checkpoint.manifest().permanent);
  CHECK(checkpoint.params_hash() == CheckpointState::hash_at(5));
}

TEST_CASE("a temporary checkpoint lasts until the next one commits", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  save_checkpoint(folder.path(), state.contents(1, true));
  save_checkpoint(folder.path(), state.contents(2, false));
  CHECK(list_checkpoints(folder.path()) == std::vector<int64_t>{1, 2});
  save_checkpoint(folder.path(), state.contents(3, false));
  CHECK(list_checkpoints(folder.path()) == std::vector<int64_t>{1, 3});
  save_checkpoint(folder.path(), state.contents(4, true));
  CHECK(list_checkpoints(folder.path()) == std::vector<int64_t>{1, 4});
}

TEST_CASE("the next save removes what is left of a checkpoint that could not be removed",
          "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  save_checkpoint(folder.path(), state.contents(1, false));
  save_checkpoint(folder.path(), state.contents(2, true));
  make_directories(folder / "step-1");  // as where a disk failed after the manifest had gone
  write_file_atomic(folder / "step-1/model.safetensors", "x");
  make_directories(folder / "step-7");
  write_file_atomic(folder / "step-7/notes.txt", "somebody's own");
  save_checkpoint(folder.path(), state.contents(3, true));
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"step-2", "step-3", "step-7"});
}

TEST_CASE("a save that the system refuses leaves the former checkpoints alone", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state(100);
  save_checkpoint(folder.path(), state.contents(1, false));
  const int code = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    for (const rlim_t limit : {0, 1, 100, 5000, 20000}) {
      const rlimit small{limit, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &small);
      const std::string text =
          failure_of(ErrorKind::kIo, [&] { save_checkpoint(folder.path(), state.contents(2)); });
      if (text.find("cannot write") == text.npos) return 1;
      if (list_directory(folder.path()) != std::vector<std::string>{"step-1"}) return 2;
    }
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &none);
    save_checkpoint(folder.path(), state.contents(2));  // there is room again
    return 0;
  });
  CHECK(code == 0);
  CHECK(find_latest(folder.path()).checkpoint->step() == 2);
}

TEST_CASE("a full disk refuses a save and keeps the former checkpoints", "[train]") {
  constexpr int kNoMount = 77;
  const TemporaryFolder folder;
  const int code = in_child([&] {
    // A small disk of one's own needs the right to mount; it goes with the process.
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=4m") != 0)
      return kNoMount;
    CheckpointState small, large(20000);
    save_checkpoint(folder.path(), small.contents(1));
    const std::string text =
        failure_of(ErrorKind::kIo, [&] { save_checkpoint(folder.path(), large.contents(2)); });
    if (text.find("the disk has") == text.npos) return 1;
    // Fill it up to the last blocks: now the room promised is not there when it is written.
    AtomicFile filler(folder / "filler");
    const std::string block(4096, 'x');
    const std::string full = failure_of(ErrorKind::kIo, [&] {
      for (;;) filler.write(block);
    });
    if (full.find("no space left") == full.npos || full.find("free space") == full.npos) return 2;
    if (failure_of(ErrorKind::kIo, [&] { save_checkpoint(folder.path(), small.contents(3)); }) ==
        "")
      return 3;
    if (list_checkpoints(folder.path()) != std::vector<int64_t>{1}) return 4;
    return verify_checkpoint(folder.path()).ok ? 0 : 5;
  });
  if (code == kNoMount) {
    WARN("skipped: a disk of a test's own cannot be mounted here");
    return;
  }
  CHECK(code == 0);
}

TEST_CASE("a folder that cannot be written is named", "[train]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "file", "");
  const CheckpointState state;
  const std::string text = failure_of(
      ErrorKind::kIo, [&] { save_checkpoint(folder / "file/checkpoints", state.contents(1)); });
  CHECK_THAT(text, Contains(folder / "file"));
}

TEST_CASE("a part that another rank does not save is waited for no longer than it is given",
          "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  CheckpointContents contents = state.contents(3);
  contents.part = {
      .count = 2, .key = "a", .folder = prepare_checkpoint(folder.path(), 3), .patience = 0.05};
  CHECK_THAT(failure_of(ErrorKind::kIo, [&] { save_checkpoint(folder.path(), contents); }),
             Contains("rank 1 has not saved its part"));
  CHECK(list_directory(folder.path()).empty());
}

namespace {

/// Two writers of one save, the second with the last of the optimizer's tensors.
class TwoWriters {
 public:
  explicit TwoWriters(const std::string& folder) : folder_(folder) { state.fill(3); }

  /// The first makes the folder of a save that is told from others by `key`.
  void prepare(const std::string& key) { part_ = {0, 2, key, prepare_checkpoint(folder_, 3), 10}; }
  void save_first() const {
    CheckpointContents contents = state.contents(3);
    contents.optimizer = contents.optimizer.first(2);
    contents.part = part_;
    save_checkpoint(folder_, contents);
  }
  void save_second(const std::string& key) const {
    CheckpointContents contents = state.contents(3);
    contents.optimizer = contents.optimizer.subspan(2);
    contents.part = part_;
    contents.part.index = 1;
    contents.part.key = key;
    save_checkpoint(folder_, contents);
  }
  void check_whole() const {
    const Checkpoint saved = read_checkpoint(step_folder(folder_, 3));
    CHECK(same_tensors(saved, state.model()));
    CHECK(same_tensors(saved, state.optimizer()));
    CHECK(list_directory(saved.folder()) ==
          std::vector<std::string>{"config.toml", "manifest.json", "model.safetensors",
                                   "optimizer-00001-of-00002.safetensors",
                                   "optimizer-00002-of-00002.safetensors", "tokenizer.json"});
  }
  const std::string& part_folder() const { return part_.folder; }

  CheckpointState state;

 private:
  std::string folder_;
  SavePart part_;
};

}  // namespace

TEST_CASE("parts of two writers are one checkpoint, also over one of the same step", "[train]") {
  const TemporaryFolder folder;
  TwoWriters writers(folder.path());
  for (const std::string key : {"a", "b"}) {
    writers.state.fill(key == "a" ? 3 : 4);
    writers.prepare(key);
    writers.save_second(key);
    CHECK(list_checkpoints(folder.path()).size() == (key == "a" ? 0 : 1));
    writers.save_first();
    writers.check_whole();
  }
  CHECK(list_directory(folder.path()) == std::vector<std::string>{"step-3"});
}

TEST_CASE("what an earlier try of a save has left is no part of it", "[train]") {
  const TemporaryFolder folder;
  TwoWriters writers(folder.path());
  writers.prepare("now");
  writers.state.fill(2);
  writers.save_second("before");
  writers.state.fill(3);
  std::thread second([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    writers.save_second("now");
  });
  writers.save_first();
  second.join();
  writers.check_whole();
}

TEST_CASE("a part that cannot be written fails the save with its reason", "[train]") {
  const TemporaryFolder folder;
  TwoWriters writers(folder.path());
  writers.prepare("a");
  make_directories(join_path(writers.part_folder(), "optimizer-00002-of-00002.safetensors"));
  const std::string reason = failure_of(ErrorKind::kIo, [&] { writers.save_second("a"); });
  CHECK_THAT(failure_of(ErrorKind::kIo, [&] { writers.save_first(); }),
             Contains("rank 1 has not saved its part: ") && Contains("optimizer-00002-of-00002"));
  CHECK_THAT(reason, Contains("optimizer-00002-of-00002"));
  CHECK(list_checkpoints(folder.path()).empty());
}

TEST_CASE("a file of a person's own that sounds like a part is not the program's", "[train]") {
  const TemporaryFolder folder;
  for (const auto& [name, ours] :
       {std::pair{"optimizer-00001-of-00002.safetensors", true}, std::pair{"part-12.json", true},
        std::pair{"optimizer-notes.safetensors", false},
        std::pair{"optimizer-1-of-2-old.safetensors", false}, std::pair{"part-one.json", false}}) {
    write_file_atomic(folder / name, "");
    INFO(name);
    CHECK(is_checkpoint_file(folder / name) == ours);
  }
}
