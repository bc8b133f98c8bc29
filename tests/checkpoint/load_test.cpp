// Reading checkpoints: slices of any partition, damage of every kind, the way back to a good one.
#include "checkpoint/load.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <numeric>
#include <thread>

#include "base/hash.h"
#include "base/strings.h"
#include "support/checkpoint_state.h"
#include "support/fault.h"
#include "support/temporary_folder.h"
#include "checkpoint/folder.h"

using namespace levanter;
using Catch::Contains;
using levanter::testing::CheckpointState;
using levanter::testing::failure_of;
using levanter::testing::flip_bit;
using levanter::testing::TemporaryFolder;

namespace {

struct Box {
  std::vector<int64_t> start, extent;
};

/// Writes a checkpoint whose one tensor counts 0, 1, 2, ... in C order, cut into the boxes, each in
/// a file of its own behind a few other bytes.
void write_sliced(const std::string& step_path, const std::vector<int64_t>& shape,
                  const std::vector<Box>& boxes) {
  make_directories(step_path);
  Manifest manifest;
  manifest.step = 1;
  TensorRecord tensor{DType::i32, shape, {}};
  for (const Box& box : boxes) {
    std::vector<int32_t> values;
    const int64_t volume = std::accumulate(box.extent.begin(), box.extent.end(), int64_t{1},
                                           [](int64_t a, int64_t b) { return a * b; });
    for (int64_t i = 0; i < volume; ++i) {
      int64_t rest = i, stride = 1, place = 0;
      for (size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) {
        place += (box.start[axis] + rest % box.extent[axis]) * stride;
        rest /= box.extent[axis];
      }
      values.push_back(static_cast<int32_t>(place));
    }
    const auto bytes = std::as_bytes(std::span(values));
    const std::string name = cat("model-", tensor.slices.size(), ".safetensors");
    AtomicFile file(join_path(step_path, name));
    file.write("12345");
    file.write(bytes);
    file.commit();
    tensor.slices.push_back(
        {name, 5, static_cast<int64_t>(bytes.size()), box.start, box.extent, xxh3_64(bytes)});
  }
  manifest.tensors["t"] = tensor;
  write_file_atomic(join_path(step_path, kConfigFile), "");
  write_file_atomic(join_path(step_path, kTokenizerFile), "");
  write_file_atomic(join_path(step_path, kManifestFile), manifest.text());
}

/// True when the tensor reads back as 0, 1, 2, ...
bool counts(const std::string& step_path) {
  const Checkpoint checkpoint = read_checkpoint(step_path);
  std::vector<int32_t> values(static_cast<size_t>(checkpoint.tensor("t").elements()), -1);
  checkpoint.load_tensor("t", std::as_writable_bytes(std::span(values)));
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] != static_cast<int32_t>(i)) return false;
  return true;
}

/// True when any rows of the tensor, read by themselves, are their part of 0, 1, 2, ...
bool rows_count(const std::string& step_path) {
  const Checkpoint checkpoint = read_checkpoint(step_path);
  const TensorRecord& record = checkpoint.tensor("t");
  const int64_t all = record.shape[0], row = record.elements() / all;
  bool right = true;
  for (int64_t first = 0; first < all; ++first)
    for (int64_t end = first + 1; end <= all; ++end) {
      std::vector<int32_t> values(static_cast<size_t>((end - first) * row), -1);
      Tensor rows{"t", record.dtype, record.shape, reinterpret_cast<std::byte*>(values.data())};
      rows.shape[0] = end - first;
      rows.first_row = first;
      rows.all_rows = all;
      checkpoint.load(rows);
      for (size_t i = 0; i < values.size(); ++i)
        right = right && values[i] == first * row + static_cast<int32_t>(i);
    }
  return right;
}

}  // namespace

TEST_CASE("a tensor is put together from slices of any partition", "[train]") {
  struct Case {
    std::vector<int64_t> shape;
    std::vector<Box> boxes;
  };
  const Case cases[] = {
      {{6}, {{{0}, {6}}}},
      {{7, 3}, {{{0, 0}, {4, 3}}, {{4, 0}, {3, 3}}}},
      {{7, 3}, {{{4, 0}, {3, 3}}, {{0, 0}, {4, 3}}}},
      {{4, 6}, {{{0, 0}, {4, 2}}, {{0, 2}, {4, 2}}, {{0, 4}, {4, 2}}}},
      {{4, 6}, {{{0, 0}, {4, 5}}, {{0, 5}, {4, 1}}}},
      {{5, 4}, {{{0, 0}, {2, 4}}, {{2, 0}, {2, 4}}, {{4, 0}, {1, 4}}, {{5, 0}, {0, 4}}}},
      {{4, 4}, {{{0, 0}, {2, 3}}, {{0, 3}, {2, 1}}, {{2, 0}, {2, 4}}}},
      {{2, 3, 4}, {{{0, 0, 0}, {2, 2, 4}}, {{0, 2, 0}, {2, 1, 4}}}},
      {{2, 3, 4}, {{{0, 0, 0}, {2, 3, 1}}, {{0, 0, 1}, {1, 3, 3}}, {{1, 0, 1}, {1, 3, 3}}}},
      {{2, 2, 2, 3}, {{{0, 0, 0, 0}, {2, 1, 2, 3}}, {{0, 1, 0, 0}, {2, 1, 2, 3}}}},
  };
  for (const Case& c : cases) {
    const TemporaryFolder folder;
    write_sliced(folder / "step-1", c.shape, c.boxes);
    CHECK(counts(folder / "step-1"));
    CHECK(rows_count(folder / "step-1"));
  }
}

TEST_CASE("a flipped bit in any byte of any file is found", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  const std::string step = save_checkpoint(folder.path(), state.contents(1)).folder;
  for (const std::string& name : list_directory(step)) {
    const std::string path = join_path(step, name);
    const std::string whole = read_file(path);
    int64_t unnoticed = 0;
    // The manifest's own test tries each bit; a prime stride reaches all parts of the others.
    for (size_t at = 0; at < whole.size(); at += 13) {
      flip_bit(path, at, static_cast<int>(at % 8));
      unnoticed += failure_of(ErrorKind::kCheckpoint, [&] { read_checkpoint(step); }).empty();
      write_file_atomic(path, whole);
    }
    INFO(name);
    CHECK(unnoticed == 0);
  }
  CHECK(verify_checkpoint(step).ok);
}

TEST_CASE("a file that is cut, longer or missing is named", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  const std::string step = save_checkpoint(folder.path(), state.contents(1)).folder;
  for (const std::string& name : list_directory(step)) {
    if (name == kManifestFile) continue;
    const std::string path = join_path(step, name);
    const std::string whole = read_file(path);
    const auto failure = [&] {
      return failure_of(ErrorKind::kCheckpoint, [&] { read_checkpoint(step); });
    };
    for (const size_t size : {size_t{0}, whole.size() / 2, whole.size() - 1}) {
      testing::truncate_file(path, size);
      CHECK_THAT(failure(), Contains(cat(name, " has ", size, " bytes")));
      write_file_atomic(path, whole);
    }
    write_file_atomic(path, whole + "x");
    CHECK_THAT(failure(), Contains(name));
    remove_tree(path);
    CHECK_THAT(failure(), Contains(name));
    CHECK_THAT(failure(), Contains("no such file"));
    write_file_atomic(path, whole);
  }
  CHECK_NOTHROW(read_checkpoint(step));
}

TEST_CASE("a bad checkpoint is named and the good one before it is found", "[train]") {
  const TemporaryFolder folder;
  const std::string checkpoints = folder / "checkpoints";
  CHECK_FALSE(find_latest(checkpoints).checkpoint);
  CheckpointState state;
  for (const int64_t step : {1, 2, 3, 4}) {
    state.fill(step);
    save_checkpoint(checkpoints, state.contents(step));
  }
  flip_bit(checkpoints + "/step-4/optimizer.safetensors", 400, 3);
  testing::truncate_file(checkpoints + "/step-3/manifest.json", 100);
  make_directories(checkpoints + "/step-5");  // incomplete: no word about it

  FoundCheckpoint found = find_latest(checkpoints);
  REQUIRE(found.checkpoint);
  CHECK(found.checkpoint->step() == 2);
  CHECK(found.checkpoint->params_hash() == CheckpointState::hash_at(2));
  REQUIRE(found.problems.size() == 2);
  CHECK_THAT(found.problems[0], Contains("step-4: optimizer.safetensors"));
  CHECK_THAT(found.problems[1], Contains("step-3: bad manifest"));

  for (const std::string& path : {folder.path(), checkpoints, checkpoints + "/step-2"})
    CHECK(open_checkpoint(path).checkpoint->step() == 2);
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { open_checkpoint(checkpoints + "/step-4"); }),
             Contains("optimizer.safetensors"));

  const VerifyReport all = verify_checkpoint(folder.path());
  CHECK_FALSE(all.ok);
  CHECK(all.step == 2);
  CHECK(all.folder == checkpoints + "/step-2");
  CHECK(all.params_hash == CheckpointState::hash_at(2));
  CHECK(all.problems.size() == 2);

  const VerifyReport bad = verify_checkpoint(checkpoints + "/step-4");
  CHECK_FALSE(bad.ok);
  CHECK(bad.step == -1);
  CHECK(bad.problems.size() == 1);
  CHECK_FALSE(verify_checkpoint(checkpoints + "/step-5").ok);

  for (const int64_t step : {1, 2}) remove_tree(step_folder(checkpoints, step) + "/tokenizer.json");
  found = find_latest(checkpoints);
  CHECK_FALSE(found.checkpoint);
  CHECK(found.problems.size() == 4);
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { open_checkpoint(folder.path()); }),
             Contains("no good checkpoint"));
}

TEST_CASE("all that is wrong with a checkpoint is reported together", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  const std::string step = save_checkpoint(folder.path(), state.contents(1)).folder;
  remove_tree(step + "/tokenizer.json");
  flip_bit(step + "/config.toml", 0, 0);
  flip_bit(step + "/model.safetensors", read_file(step + "/model.safetensors").size() - 1, 7);
  const VerifyReport report = verify_checkpoint(step);
  REQUIRE(report.problems.size() == 3);
  const std::string all = join(report.problems, "\n");
  CHECK_THAT(all, Contains("config.toml does not match its checksum"));
  CHECK_THAT(all, Contains("tokenizer.json"));
  CHECK_THAT(all, Contains("model.safetensors: tensor "));
}

TEST_CASE("a path without a checkpoint is an error", "[train]") {
  const TemporaryFolder folder;
  for (const std::string& path : {folder.path(), folder / "none", folder / "step-5"}) {
    CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { open_checkpoint(path); }),
               Contains("no checkpoint in " + path));
    CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { verify_checkpoint(path); }),
               Contains("no checkpoint in " + path));
  }
}

TEST_CASE("a folder renamed to another step is a bad checkpoint", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  const std::string step = save_checkpoint(folder.path(), state.contents(1)).folder;
  rename_path(step, folder / "step-9");
  CHECK(failure_of(ErrorKind::kCheckpoint, [&] { read_checkpoint(folder / "step-9"); }) != "");
  rename_path(folder / "step-9", folder / "best");
  CHECK(read_checkpoint(folder / "best").step() == 1);
}

TEST_CASE("a tensor that does not fit is an error that names both sides", "[train]") {
  const TemporaryFolder folder;
  const CheckpointState state;
  const Checkpoint checkpoint =
      read_checkpoint(save_checkpoint(folder.path(), state.contents(1)).folder);
  std::vector<float> memory(1000);
  auto* data = reinterpret_cast<std::byte*>(memory.data());
  const auto failure = [&](const Tensor& target) {
    return failure_of(ErrorKind::kCheckpoint, [&] { checkpoint.load(target); });
  };
  CHECK(failure({"ln_f.weight", DType::f32, {12}, data}) == "");
  CHECK_THAT(failure({"ln_f.weight", DType::f32, {13}, data}), Contains("f32[12]"));
  CHECK_THAT(failure({"ln_f.weight", DType::f32, {13}, data}), Contains("f32[13]"));
  CHECK_THAT(failure({"ln_f.weight", DType::f64, {12}, data}), Contains("f64[12] here"));
  const Tensor rows{"ln_f.weight", DType::f32, {4}, data, &host_memory(), 2, 13};
  CHECK_THAT(failure(rows), Contains("f32[13] here"));
  CHECK_THAT(failure({"ln_f.wieght", DType::f32, {12}, data}),
             Contains("the nearest is \"ln_f.weight\""));
  CHECK(checkpoint.has("count"));
  CHECK_FALSE(checkpoint.has("ln_f.wieght"));
}

TEST_CASE("a checkpoint that was opened is read after it has been removed", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state;
  state.fill(3);
  save_checkpoint(folder.path(), state.contents(3));
  const FoundCheckpoint found = open_checkpoint(folder.path());
  remove_checkpoint(folder / "step-3");
  CHECK(list_directory(folder.path()).empty());
  CHECK(found.checkpoint->params_hash() == CheckpointState::hash_at(3));
  CHECK(found.checkpoint->config_toml().starts_with("[model]"));
}

TEST_CASE("readers never take a checkpoint that its run removes for a bad one", "[train]") {
  const TemporaryFolder folder;
  const std::string checkpoints = folder / "checkpoints";
  constexpr int64_t kScale = 200;  // so that reading takes about as long as saving
  {
    CheckpointState state(kScale);
    state.fill(0);
    save_checkpoint(checkpoints, state.contents(0, false));
  }
  std::atomic<bool> done = false;
  std::thread run([&] {
    CheckpointState state(kScale);
    for (int64_t step = 1; !done; ++step) {
      state.fill(step);
      save_checkpoint(checkpoints, state.contents(step, false));
    }
  });
  int64_t bad = 0, latest = 0;
  // Until many were removed meanwhile, however slow the machine is.
  for (int i = 0; i < 300 || (latest <= 20 && i < 30000); ++i) {
    const FoundCheckpoint found = find_latest(checkpoints);
    bad += found.problems.empty() && found.checkpoint ? 0 : 1;
    if (found.checkpoint) {
      const int64_t step = found.checkpoint->step();
      bad += step >= latest &&
                     found.checkpoint->params_hash() == CheckpointState::hash_at(step, kScale)
                 ? 0
                 : 1;
      latest = step;
    }
    const VerifyReport report = verify_checkpoint(folder.path());
    bad += report.ok && report.step >= latest ? 0 : 1;
  }
  done = true;
  run.join();
  CHECK(bad == 0);
  CHECK(latest > 20);
}

TEST_CASE("a step that is removed while it is read is said to be, not to be bad", "[train]") {
  const TemporaryFolder folder;
  CheckpointState state(200);
  std::atomic<bool> done = false;
  save_checkpoint(folder.path(), state.contents(1, false));
  std::thread run([&] {
    while (!done) {
      save_checkpoint(folder.path(), state.contents(1, false));
      remove_checkpoint(folder / "step-1");
    }
  });
  int read = 0, other = 0;
  for (int i = 0; i < 300; ++i) {
    try {
      read_checkpoint(folder / "step-1");
      ++read;
    } catch (const Error& error) {
      const std::string text = error.what();
      const bool fine = text.find("was removed while it was read") != std::string::npos ||
                        text.find("manifest.json: no such file") != std::string::npos;
      if (!fine && ++other == 1) UNSCOPED_INFO(text);
    }
  }
  done = true;
  run.join();
  CHECK(other == 0);
  CHECK(read > 0);
}
