// Format "prebuilt": ids as they stand, weights one for each.
#include <catch2/catch.hpp>

#include "data/format.h"
#include "support/fault.h"
#include "support/formats.h"
#include "support/made_tokenizer.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

TEST_CASE("ids and weights are taken as they stand", "[data]") {
  const MadeTokenizer tokenizer;
  MadeFormat plain("type = \"prebuilt\"", {.tokenizer = &tokenizer});
  MadeFormat weighted("type = \"prebuilt\"\nloss_weights_key = \"w\"", {.tokenizer = &tokenizer});
  CHECK_FALSE(plain.config->weighted());
  CHECK(weighted.config->weighted());
  constexpr char kRecord[] = R"({"input_ids": [1, 257], "w": [0.5, 2]})";
  CHECK(plain.document(kRecord).tokens == std::vector<int32_t>{1, 257});
  CHECK(plain.document(kRecord).weights.empty());
  CHECK(weighted.document(kRecord).weights == std::vector<float>{0.5f, 2});
}

TEST_CASE("ids outside the vocabulary and weights that do not fit are refused", "[data]") {
  const MadeTokenizer tokenizer;
  MadeFormat weighted("type = \"prebuilt\"\nloss_weights_key = \"w\"", {.tokenizer = &tokenizer});
  for (const char* text :
       {R"({"input_ids": [258], "w": [1]})", R"({"input_ids": [-1], "w": [1]})",
        R"({"input_ids": [1.5], "w": [1]})", R"({"input_ids": [1, 2], "w": [1]})",
        R"({"input_ids": [1], "w": [-1]})", R"({"input_ids": 1, "w": [1]})"}) {
    INFO(text);
    CHECK(failure_of(ErrorKind::kData, [&] { weighted.document(text, 9); }).find("f.jsonl:9") !=
          std::string::npos);
  }
}
