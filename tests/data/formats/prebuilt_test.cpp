// Format "prebuilt": ids as they stand, weights one for each.
#include <catch2/catch.hpp>

#include "data/format.h"
#include "support/fault.h"
#include "support/made_tokenizer.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

struct Made {
  std::unique_ptr<config::Choosable> config;
  std::unique_ptr<Format> format;
};

Made prebuilt(const text::Tokenizer& tokenizer, bool weighted) {
  Made made;
  for (const FormatEntry* entry : formats::entries())
    if (std::string_view(entry->name) == "prebuilt") made.config = entry->make_config();
  config::Fields fields;
  made.config->fields(fields);
  for (const config::Field& field : fields.list())
    if (weighted && std::string_view(field.key) == "loss_weights_key")
      *static_cast<std::optional<std::string>*>(field.value) = "w";
  CHECK(static_cast<FormatConfig&>(*made.config).weighted() == weighted);
  made.format = static_cast<FormatConfig&>(*made.config).make({.tokenizer = &tokenizer});
  return made;
}

}  // namespace

TEST_CASE("ids and weights are taken as they stand", "[data]") {
  const MadeTokenizer tokenizer;
  const Made plain = prebuilt(tokenizer, false), weighted = prebuilt(tokenizer, true);
  const FormatRecord record{{R"({"input_ids": [1, 257], "w": [0.5, 2]})", "f.jsonl", 1}, true};
  CHECK(plain.format->document(record).tokens == std::vector<int32_t>{1, 257});
  CHECK(plain.format->document(record).weights.empty());
  CHECK(weighted.format->document(record).weights == std::vector<float>{0.5f, 2});
}

TEST_CASE("ids outside the vocabulary and weights that do not fit are refused", "[data]") {
  const MadeTokenizer tokenizer;
  const Made weighted = prebuilt(tokenizer, true);
  for (const char* text :
       {R"({"input_ids": [258], "w": [1]})", R"({"input_ids": [-1], "w": [1]})",
        R"({"input_ids": [1.5], "w": [1]})", R"({"input_ids": [1, 2], "w": [1]})",
        R"({"input_ids": [1], "w": [-1]})", R"({"input_ids": 1, "w": [1]})"}) {
    INFO(text);
    CHECK(failure_of(ErrorKind::kData, [&] {
            weighted.format->document({{text, "f.jsonl", 9}, true});
          }).find("f.jsonl:9") != std::string::npos);
  }
}
