// Finding tokenizers, loading saved ones, and the contract that all kinds share.
#include "text/tokenizer.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "text/tokenizer_contract.h"

using namespace levanter;
using namespace levanter::text;

void levanter::text::check_round_trip(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.encode({text, "text"});
  CHECK(tokenizer.decode(ids) == text);
  int64_t bytes = 0;
  for (const int32_t id : ids) {
    REQUIRE(id >= 0);
    REQUIRE(id < tokenizer.vocab_size());
    bytes += tokenizer.byte_length(id);
  }
  CHECK(bytes == static_cast<int64_t>(text.size()));

  const std::string saved = tokenizer.serialise();
  const auto loaded = load_tokenizer(saved, "tokenizer.json");
  CHECK(loaded->name() == tokenizer.name());
  CHECK(loaded->vocab_size() == tokenizer.vocab_size());
  CHECK(loaded->serialise() == saved);
  CHECK(loaded->encode({text, "text"}) == ids);
}

TEST_CASE("a tokenizer is found by its name, and another name lists them all", "[text]") {
  for (const TokenizerEntry* entry : entries()) CHECK(&find_tokenizer(entry->name) == entry);
  try {
    find_tokenizer("chars");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kConfig);
    CHECK(error.message() == "there is no tokenizer \"chars\"");
    CHECK_THAT(error.what(), Catch::Contains("char") && Catch::Contains("bytes"));
  }
}

TEST_CASE("a damaged saved tokenizer is refused by name", "[text]") {
  for (const char* saved :
       {"", "{", "[]", "{}", R"({"type":"unheard-of"})", R"({"type":"char"})",
        R"({"type":"char","characters":7})", R"({"type":5,"characters":"a"})",
        R"({"type":"char","characters":"ba"})", R"({"type":"char","characters":"aa"})"}) {
    INFO(saved);
    try {
      load_tokenizer(saved, "step-10/tokenizer.json");
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kCheckpoint);
      CHECK_THAT(error.what(), Catch::Contains("at       step-10/tokenizer.json"));
    }
  }
}

TEST_CASE("an id stands for the bytes of its character", "[text]") {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC";
  const std::vector<NamedText> texts = {{text, "text"}};
  const auto tokenizer = find_tokenizer("char").make({}, texts);
  for (int32_t id = 0; id < 3; ++id) {
    CHECK(tokenizer->byte_length(id) == id + 1);
    CHECK(tokenizer->first_byte_length(id) == id + 1);
  }
}
