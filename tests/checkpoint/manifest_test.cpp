// manifest.json: reads back, and every flipped bit is noticed.
#include "checkpoint/manifest.h"

#include <catch2/catch.hpp>

#include "base/strings.h"
#include "support/fault.h"

using namespace levanter;
using Catch::Contains;
using levanter::testing::failure_of;

namespace {

Manifest example() {
  Manifest manifest;
  manifest.step = 500;
  manifest.permanent = false;
  manifest.config_hash = "abc";
  manifest.numerics = "line\n\"two\"";
  manifest.extra_json = R"({"groups":8})";
  manifest.files["model.safetensors"] = {4096, 100, 0x1234};
  TensorRecord weight{DType::f32, {4, 6}, {}};
  weight.slices.push_back({"model-0.safetensors", 8, 48, {0, 0}, {2, 6}, 1});
  weight.slices.push_back({"model-1.safetensors", 8, 48, {2, 0}, {2, 6}, 0xffffffffffffffff});
  manifest.tensors["a \"weight\""] = weight;
  manifest.tensors["scalar"] = {DType::i32, {}, {{"optimizer.safetensors", 0, 4, {}, {}, 3}}};
  return manifest;
}

std::string failure(std::string_view text) {
  return failure_of(ErrorKind::kCheckpoint, [&] { Manifest::parse(text, "here/manifest.json"); });
}

/// The example's text without its seal and with `from` replaced by `to`.
std::string edited(std::string_view from, std::string_view to) {
  std::string text = example().text();
  text.resize(text.rfind(",\n\"xxh3\""));
  text += "\n}\n";
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a manifest reads back as it was", "[train]") {
  const std::string text = example().text();
  const Manifest read = Manifest::parse(text, "x");
  CHECK(read.text() == text);
  CHECK(read.step == 500);
  CHECK_FALSE(read.permanent);
  CHECK(read.numerics == "line\n\"two\"");
  CHECK(read.files.at("model.safetensors").hashed == 100);
  CHECK(read.tensors.at("a \"weight\"").slices[1].start == std::vector<int64_t>{2, 0});
  CHECK(read.tensors.at("a \"weight\"").slices[1].xxh3 == 0xffffffffffffffff);
  CHECK(read.tensors.at("a \"weight\"").in_model());
  CHECK_FALSE(read.tensors.at("scalar").in_model());
  CHECK(Manifest::parse(edited("\"step\"", "\"step\""), "x").text() == text);
}

TEST_CASE("every flipped bit and every cut of a manifest is noticed", "[train]") {
  const std::string text = example().text();
  int64_t unnoticed = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      unnoticed += failure(flipped).empty();
    }
    unnoticed += failure(text.substr(0, i)).empty();
  }
  CHECK(unnoticed == 0);
}

TEST_CASE("one writer's part of a manifest may leave rows to others", "[train]") {
  const std::string gap = edited("[4,6]", "[4,7]");
  CHECK(Manifest::parse(gap, "x", Manifest::Of::kPart).tensors.size() == 2);
  CHECK_THROWS_AS(Manifest::parse(gap, "x"), Error);
  CHECK_THROWS_AS(
      Manifest::parse(edited("\"start\": [2,0]", "\"start\": [1,0]"), "x", Manifest::Of::kPart),
      Error);
}

TEST_CASE("a manifest that says impossible things is refused", "[train]") {
  struct Case {
    std::string_view from, to, fault;
  };
  const Case cases[] = {
      {"\"format\": 1", "\"format\": 2", "checkpoint format 2"},
      {"\"step\": 500", "\"step\": -5", "\"step\" is no natural number"},
      {"\"step\": 500", "\"step\": 5e2", "\"step\" is no natural number"},
      {"\"step\": 500,", "", "\"step\" is missing"},
      {"\"temporary\"", "\"eternal\"", "unknown kind"},
      {"\"extra\"", "\"extras\"", "unknown key \"extras\""},
      {"\"i32\"", "\"i33\"", "unknown dtype"},
      {"\"model-0.safetensors\"", "\"../model\"", "no plain file name"},
      {"[4,6]", "[4,7]", "leave gaps"},
      {"[4,6]", "[3,6]", "leaves its shape"},
      {"[4,6]", "[4611686018427387904,6]", "too large"},
      {"\"start\": [2,0]", "\"start\": [1,0]", "overlap"},
      {"\"start\": [2,0]", "\"start\": [2]", "leaves its shape"},
      {"\"start\": [2,0]", "\"start\": [9223372036854775807,0]", "leaves its shape"},
      {"\"bytes\": 48", "\"bytes\": 47", "bytes for another extent"},
      {"ffffffffffffffff", "ffff", "is no checksum"},
      {"ffffffffffffffff", "fffffffffffffffx", "is no checksum"},
      {"\"hashed\": 100", "\"hashed\": 4097", "exceeds it"},
  };
  for (const Case& c : cases) {
    const std::string text = failure(edited(c.from, c.to));
    CHECK_THAT(text, Contains(std::string(c.fault)));
    CHECK_THAT(text, Contains("here/manifest.json"));
  }
  CHECK_THAT(failure("not JSON"), Contains("no JSON object"));
  CHECK_THAT(failure("{}"), Contains("\"format\" is missing"));
}
