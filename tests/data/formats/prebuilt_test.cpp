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
  CHECK(weighted.document(R"({"input_ids": [1, 2, 3], "w": [true, false, 1]})").weights ==
        std::vector<float>{1, 0, 1});
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

TEST_CASE("labels say what is learned, and are not passed over", "[data]") {
  const MadeTokenizer tokenizer;
  MadeFormat plain("type = \"prebuilt\"", {.tokenizer = &tokenizer});
  MadeFormat labelled("type = \"prebuilt\"\nlabels_key = \"labels\"", {.tokenizer = &tokenizer});
  CHECK(labelled.config->weighted());
  constexpr char kRecord[] = R"({"input_ids": [1, 2, 3], "labels": [-100, 2, 3]})";
  CHECK(labelled.document(kRecord).weights == std::vector<float>{0, 1, 1});
  const auto fault = [](MadeFormat& format, std::string_view record) {
    return failure_of(ErrorKind::kData, [&] { format.documents(record, 9); });
  };
  CHECK(fault(plain, kRecord) ==
        "error: the record has \"labels\", by which some ids are no targets, and the config does "
        "not name it\n  at       f.jsonl:9\n  hint     set labels_key = \"labels\"");
  CHECK_THAT(fault(plain, R"({"input_ids": [1, 2], "attention_mask": [1, 0]})"),
             Catch::Contains("loss_weights_key = \"attention_mask\""));
  CHECK_THAT(fault(plain, R"({"input_ids": [1, 2], "loss_mask": [true, false]})"),
             Catch::Contains("loss_weights_key = \"loss_mask\""));
  CHECK(plain.document(R"({"input_ids": [1, 2], "loss_mask": [true, true]})").weights.empty());
  CHECK_THAT(fault(labelled, R"({"input_ids": [1, 2], "labels": [1, 3]})"),
             Catch::Contains("\"labels[1]\" is 3, and the id there is 2"));
  CHECK_THAT(fault(labelled, R"({"input_ids": [1, 2], "labels": [1]})"),
             Catch::Contains("2 ids and 1 label\n"));
  // Those by which all are learned, and words that mean something else, are no matter.
  CHECK(plain.document(R"({"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [1, 1]})")
            .weights.empty());
  CHECK(plain.document(R"({"input_ids": [1], "labels": "good"})").weights.empty());
}
