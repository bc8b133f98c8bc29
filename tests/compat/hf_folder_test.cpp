// Weights of Hugging Face folders: in one file or many, and what is refused.
#include "compat/hf_folder.h"

#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "compat/safetensors.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Matchers::Contains;

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
    compat::load_weights(folder.path(), targets);
  }
  std::string fault() {
    return failure_of(ErrorKind::kCheckpoint, [&] { load(); });
  }
};

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

TEST_CASE("weights that do not fit are all named, and nothing is written", "[compat]") {
  Folder f;
  CHECK_THAT(f.fault(), Contains("the folder holds no weights"));
  const std::string file = f.folder / "model.safetensors";
  write_tensors(file, {"model.a", "model.bb", "extra"}, 1);
  CHECK_THAT(f.fault(), Contains("\"model.b\" is missing (nearest: model.bb)") &&
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
