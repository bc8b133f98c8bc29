// Weights of Hugging Face folders: in one file or many, and what is refused.
#include "compat/hf_folder.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <cstdio>

#include "base/files.h"
#include "base/strings.h"
#include "base/threads.h"
#include "compat/safetensors.h"
#include "device/host_buffer.h"
#include "support/safetensors_file.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

/// Writes a file of f32 tensors, each of two numbers that count on from `first`.
void write_tensors(const std::string& path, const std::vector<std::string>& names, float first) {
  std::vector<std::vector<float>> data;
  std::vector<safetensors::WriteTensor> tensors;
  for (size_t i = 0; i < names.size(); ++i)
    data.push_back({first + float(2 * i), first + float(2 * i + 1)});
  for (size_t i = 0; i < names.size(); ++i)
    tensors.push_back(
        {{names[i], safetensors::Element::f32, {2}}, std::as_bytes(std::span(data[i]))});
  safetensors::write_file(path, tensors);
}

struct Folder {
  TemporaryFolder folder;
  float a[2] = {}, b[2] = {};

  void load() {
    const compat::HfTarget targets[] = {{"model.a", {2}, a}, {"model.b", {2}, b}};
    compat::HfWeights(folder.path()).load(targets);
  }
  std::string fault() {
    return failure_of(ErrorKind::kCheckpoint, [&] { load(); });
  }
};

double seconds_of(auto&& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("weights are read from one file, or from the shards of an index", "[compat]") {
  Folder one;
  write_tensors(one.folder / "model.safetensors", {"model.a", "b", "model.h.0.attn.bias"}, 1);
  one.load();  // "b" lacks the first part of its name, and the buffer is no parameter
  CHECK(one.a[0] == 1);
  CHECK(one.b[1] == 4);
  Folder many;
  write_tensors(many.folder / "x-1.safetensors", {"model.a"}, 5);
  write_tensors(many.folder / "x-2.safetensors", {"model.b", "lm_head.weight"}, 7);
  write_file_atomic(
      many.folder / "model.safetensors.index.json",
      R"({"weight_map": {"model.a": "x-1.safetensors", "model.b": "x-2.safetensors"}})");
  many.load();
  CHECK(many.a[1] == 6);
  CHECK(many.b[0] == 7);
}

TEST_CASE("what is read a few elements at a time is what is read at once", "[compat]") {
  const TemporaryFolder folder;
  const std::vector<float> stored = {1, 2, 3, 4, 8, 6};
  const safetensors::WriteTensor tensor = {{"a", safetensors::Element::f32, {3, 2}},
                                           std::as_bytes(std::span(stored))};
  safetensors::write_file(folder / "model.safetensors", std::span(&tensor, 1));
  const compat::HfWeights weights(folder.path());
  std::vector<float> whole(10);
  const compat::HfTarget target = {"a", {5, 2}, whole.data(), 3};
  weights.load(std::span(&target, 1));
  CHECK(whole == std::vector<float>{1, 2, 3, 4, 8, 6, 4, 4, 4, 4});
  const safetensors::Tensor& found = *weights.match(std::span(&target, 1))[0];
  CHECK(compat::mean_row(found) == std::vector<float>{4, 4});
  for (const size_t size : {1, 2, 4, 6}) {
    std::vector<float> pieces(stored.size());
    for (size_t first = 0; first < pieces.size(); first += size)
      weights.read(found, static_cast<int64_t>(first),
                   std::span(pieces).subspan(first).first(std::min(size, pieces.size() - first)));
    CHECK(pieces == stored);
  }
}

TEST_CASE("a head that is not the embedding is not dropped, and alone it is the embedding",
          "[compat]") {
  const TemporaryFolder folder;
  const auto write = [&](const std::vector<std::string>& names, float head) {
    std::vector<std::vector<float>> data;
    std::vector<safetensors::WriteTensor> tensors;
    for (const std::string& name : names) data.push_back({1, name == "lm_head.weight" ? head : 2});
    for (size_t i = 0; i < names.size(); ++i)
      tensors.push_back(
          {{names[i], safetensors::Element::f32, {2}}, std::as_bytes(std::span(data[i]))});
    safetensors::write_file(folder / "model.safetensors", tensors);
    return compat::has_own_head(folder.path());
  };
  float embedding[2] = {}, head[2] = {};
  const compat::HfTarget tied[] = {{"model.embed_tokens.weight", {2}, embedding}};
  const auto load = [&](std::span<const compat::HfTarget> targets) {
    compat::HfWeights(folder.path()).load(targets);
  };
  CHECK_FALSE(compat::has_own_head(folder.path()));  // there are no weights
  for (const char* name : {"model.embed_tokens.weight", "embed_tokens.weight"}) {
    CHECK_FALSE(write({name, "lm_head.weight"}, 2));
    load(tied);
    CHECK(write({name, "lm_head.weight"}, 3));
    CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { load(tied); }),
               Contains("\"lm_head.weight\" is not the embedding") &&
                   Contains("model.tie_word_embeddings"));
    const compat::HfTarget untied[] = {tied[0], {"lm_head.weight", {2}, head}};
    load(untied);
    CHECK(embedding[1] == 2);
    CHECK(head[1] == 3);
  }
  CHECK_FALSE(write({"lm_head.weight"}, 5));
  load(tied);
  CHECK(embedding[1] == 5);
}

TEST_CASE("weights that do not fit are all named, and nothing is written", "[compat]") {
  Folder f;
  CHECK_THAT(f.fault(), Contains("the folder holds no weights"));
  const std::string file = f.folder / "model.safetensors";
  write_tensors(file, {"model.a", "model.bb", "extra"}, 1);
  CHECK_THAT(f.fault(), Contains("\"model.b\" is missing (nearest: \"model.bb\")") &&
                            Contains("\"extra\" is not wanted"));
  CHECK(f.a[0] == 0);
  const float wide[] = {1, 2, 3};
  const safetensors::WriteTensor tensors[] = {
      {{"model.a", safetensors::Element::f32, {3}}, std::as_bytes(std::span(wide))},
      {{"model.b", safetensors::Element::f32, {1, 3}}, std::as_bytes(std::span(wide))}};
  safetensors::write_file(file, tensors);
  CHECK_THAT(f.fault(), Contains("\"model.a\" is [3], not [2]") && Contains("[1 3], not [2]"));
  truncate_file(file, 40);
  CHECK_FALSE(f.fault().empty());
}

TEST_CASE("what stands in place of weights is told", "[compat]") {
  const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n";
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    Folder f;
    const auto fault_of = [&](std::string_view content) {
      write_file_atomic(f.folder / name, content);
      return f.fault();
    };
    CHECK_THAT(fault_of(kPointer),
               Contains("a Git LFS pointer") && Contains("git lfs pull") && Contains(name));
    CHECK_THAT(fault_of("<!doctype html><title>404</title>"), Contains("a page of HTML"));
    CHECK_THAT(fault_of(""), Contains("the file is empty"));
  }
  Folder f;
  write_file_atomic(f.folder / "model.safetensors", "PK\x03\x04 a zip of PyTorch's");
  CHECK_THAT(f.fault(), Contains("a zip archive, as PyTorch saves"));
}

TEST_CASE("an index that names no file of the folder is refused", "[compat]") {
  Folder f;
  const std::string index = f.folder / "model.safetensors.index.json";
  for (const char* text : {"{", "{}", R"({"weight_map": 1})", R"({"weight_map": {"a": 1}})",
                           R"({"weight_map": {"a": "../x.safetensors"}})",
                           R"({"weight_map": {"a": "x.safetensors"}})"}) {
    write_file_atomic(index, text);
    INFO(text);
    CHECK_THAT(f.fault(), Contains("index.json"));
  }
}

TEST_CASE("an index and shards that do not agree are refused, every difference named", "[compat]") {
  Folder f;
  write_tensors(f.folder / "1.safetensors", {"model.a", "more"}, 1);
  write_tensors(f.folder / "2.safetensors", {"model.a"}, 3);
  write_file_atomic(f.folder / "model.safetensors.index.json",
                    R"({"weight_map": {"model.a": "1.safetensors", "model.b": "2.safetensors",
                                       "c": "3.safetensors"}})");
  CHECK_THAT(f.fault(),
             Contains("1.safetensors holds \"more\", which the index does not place there") &&
                 Contains("2.safetensors holds \"model.a\"") &&
                 Contains("2.safetensors lacks \"model.b\"") &&
                 Contains("there is no file \"3.safetensors\""));
  make_directories(f.folder / "model.safetensors");
  CHECK_THAT(f.fault(), Contains("the weights are no file"));
}

TEST_CASE("weights of whole numbers, and faults without end, are refused", "[compat]") {
  Folder f;
  const int32_t whole[] = {1, 2};
  std::vector<safetensors::WriteTensor> tensors;
  for (const char* name : {"model.a", "model.b"})
    tensors.push_back({{name, safetensors::Element::i32, {2}}, std::as_bytes(std::span(whole))});
  safetensors::write_file(f.folder / "model.safetensors", tensors);
  CHECK_THAT(f.fault(), Contains("\"model.a\" holds I32") && Contains("\"model.b\" holds I32"));
  std::vector<std::string> names = {"model.a", "model.b"};
  for (int i = 0; i < 200; ++i) names.push_back(cat("extra.", i));
  write_tensors(f.folder / "model.safetensors", names, 1);
  CHECK_THAT(f.fault(), Contains("\"extra.0\" is not wanted") && Contains("; and 197 more"));
}

TEST_CASE("weights are read about as quickly as their file", "[.bench]") {
  constexpr int64_t kTensors = 16, kBytes = int64_t{1} << 30;
  for (const safetensors::Element element :
       {safetensors::Element::f32, safetensors::Element::bf16, safetensors::Element::f16}) {
    const TemporaryFolder folder;
    const std::string path = folder / "model.safetensors";
    const int64_t elements = kBytes / kTensors / size_of(element);
    const std::vector<std::byte> data(static_cast<size_t>(kBytes / kTensors), std::byte{0x3c});
    std::vector<safetensors::WriteTensor> tensors;
    std::vector<compat::HfTarget> targets;
    const auto memory = allocate_host(kTensors * elements * 4, available_threads());
    for (int64_t i = 0; i < kTensors; ++i) {
      tensors.push_back({{cat("model.", i), element, {elements}}, data});
      targets.push_back(
          {cat("model.", i), {elements}, reinterpret_cast<float*>(memory->data()) + i * elements});
    }
    safetensors::write_file(path, tensors);
    double read = 1e9, load = 1e9;
    for (int repeat = 0; repeat < 3; ++repeat) {
      read = std::min(
          read, seconds_of([&] {
            const InputFile file(path);
            std::vector<std::byte> piece(size_t{1} << 17);
            for (int64_t at = 0; at < file.size(); at += static_cast<int64_t>(piece.size())) {
              piece.resize(std::min(piece.size(), static_cast<size_t>(file.size() - at)));
              file.read(at, piece);
            }
          }));
      load = std::min(load, seconds_of([&] { compat::HfWeights(folder.path()).load(targets); }));
    }
    std::printf("%s: read %.2f GB/s, loaded %.2f GB/s of the file\n",
                std::string(name_of(element)).c_str(), 1e-9 * static_cast<double>(kBytes) / read,
                1e-9 * static_cast<double>(kBytes) / load);
  }
}
