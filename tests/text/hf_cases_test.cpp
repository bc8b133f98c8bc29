// Every component of Hugging Face tokenizers, in small made-up ones: ids, texts, errors, worst
// cases.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "base/strings.h"
#include "base/threads.h"
#include "support/source_root.h"
#include "support/fault.h"
#include "text/hf/merges.h"
#include "text/hf_support.h"
#include "text/tokenizer_contract.h"
#include "text/utf8.h"

using namespace levanter;
using namespace levanter::text;
using levanter::testing::failure_of;
using nlohmann::json;

namespace {

std::vector<json> golden_cases() {
  std::vector<json> out;
  const std::string path = cat(testing::source_root(), "/tests/golden/hf_cases.jsonl");
  for (const std::string& line : split(read_file(path), '\n'))
    if (!line.empty()) out.push_back(json::parse(line));
  return out;
}

/// A byte-level tokenizer without merges but those given.
std::string byte_level(const std::string& merges = "", const std::string& tokens = "") {
  for (const json& golden : golden_cases()) {
    if (golden["name"] != "gpt2") continue;
    json tokenizer = golden["tokenizer"];
    if (!merges.empty()) tokenizer["model"]["merges"] = json::parse(merges);
    if (!tokens.empty()) tokenizer["model"]["vocab"].update(json::parse(tokens));
    return tokenizer.dump();
  }
  return "";
}

std::string error_of(const std::string& tokenizer) {
  return failure_of(ErrorKind::kData, [&] { tokenizer_of(tokenizer); });
}

}  // namespace

TEST_CASE("hf: every component gives the ids and texts that Hugging Face's gives", "[text]") {
  const std::vector<json> goldens = golden_cases();
  CHECK(goldens.size() == 33);
  for (const json& golden : goldens) {
    const auto tokenizer = tokenizer_of(golden["tokenizer"].dump());
    for (const json& one : golden["cases"]) {
      const std::string text = one["text"];
      INFO(golden["name"] << ": " << quote(text));
      const std::vector<int32_t> ids = tokenizer->encode({text, "text"});
      CHECK(ids == one["ids"].get<std::vector<int32_t>>());
      CHECK(tokenizer->add_special(ids) == one["special_ids"].get<std::vector<int32_t>>());
      CHECK(tokenizer->decode(ids) == one["decoded"].get<std::string>());
      CHECK(tokenizer->decode(ids, Special::kSkip) == one["skipped"].get<std::string>());
    }
  }
}

TEST_CASE("hf: byte-level text comes back as it was, saved and loaded", "[text]") {
  const auto tokenizer = tokenizer_of(byte_level());
  for (const char* text : {"", "ab abc", "caf\xC3\xA9\n\n \xF0\x9F\x98\x80", "abab'll  12"})
    check_round_trip(*tokenizer, text);
  for (uint32_t trial = 0; trial < 100; ++trial) {
    const Key key = fold_in(key_from_seed(3), trial);
    std::string text;
    for (uint64_t i = 0; i < 40; ++i) {
      const uint64_t limits[] = {0x80, 0x80, 0x800, 0xD800, kScalarLimit};
      const uint64_t limit = limits[random_below(key, 2 * i, 5)];
      const auto scalar = static_cast<uint32_t>(random_below(key, 2 * i + 1, limit));
      if (scalar < 0xD800 || scalar >= 0xE000) append_scalar(text, scalar);
    }
    check_round_trip(*tokenizer, text);
  }
}

TEST_CASE("hf: a token's text counts its bytes, a special one none", "[text]") {
  const auto tokenizer = tokenizer_of(byte_level());
  const std::vector<int32_t> ids = tokenizer->encode({"<mask> word", "text"});
  REQUIRE(ids.size() == 3);
  CHECK(tokenizer->byte_length(ids[0]) == 0);
  CHECK(tokenizer->byte_length(ids[1]) == 1);
  CHECK(tokenizer->byte_length(ids[2]) == 4);
  CHECK_THROWS_AS(tokenizer->decode({{static_cast<int32_t>(tokenizer->vocab_size())}}), Error);
}

TEST_CASE("hf: long rows merge as short ones do", "[text]") {
  // Of 1 = 0 0, 2 = 1 1, 3 = 2 2, 4 = 0 5; the quick form and the one for long rows agree.
  const std::vector<hf::Merge> merges = {{0, 5, 4}, {0, 0, 1}, {1, 1, 2}, {2, 2, 3}, {4, 1, 6}};
  const hf::MergeTable table(merges);
  std::vector<int32_t> zeros(1 << 20, 0);
  CHECK(table.apply(zeros) == zeros.size() / 8);
  for (uint32_t trial = 0; trial < 300; ++trial) {
    const Key key = fold_in(key_from_seed(4), trial);
    std::vector<int32_t> ids(20 + random_below(key, 0, 60));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = random_below(key, i + 1, 3) == 0 ? 5 : 0;
    // The rule itself: the lowest rank, the leftmost of equals, one at a time.
    std::vector<int32_t> slow = ids;
    for (bool merged = true; merged;) {
      merged = false;
      for (const hf::Merge& merge : merges) {
        for (size_t i = 0; i + 1 < slow.size() && !merged; ++i) {
          if (slow[i] != merge.left || slow[i + 1] != merge.right) continue;
          slow[i] = merge.result;
          slow.erase(slow.begin() + static_cast<ptrdiff_t>(i) + 1);
          merged = true;
        }
        if (merged) break;
      }
    }
    ids.resize(table.apply(ids));
    CHECK(ids == slow);
  }
}

TEST_CASE("hf: an expression takes pieces of megabytes", "[text]") {
  const auto tokenizer = tokenizer_of(
      R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"[\\p{L}&&[^\\p{Han}]]+|\\p{N}{1,3}+)"
      R"(|\\s*[\\r\\n]+|\\s+"},"behavior":"Isolated"},)"
      R"("model":{"type":"WordLevel","unk_token":"a","vocab":{"a":0}}})");
  for (const char letter : {'a', ' ', '1', '\n'})
    CHECK(tokenizer->encode({std::string(size_t{12} << 20, letter), "text"}).size() == 1);
}

TEST_CASE("hf: all threads give the ids of a long text that one gives", "[text]") {
  std::vector<std::string> texts;
  for (const std::string_view letters : {"ab c,\n", "a ", "1aab "}) {
    std::string& text = texts.emplace_back();
    for (uint64_t i = 0; text.size() < (1 << 19); ++i)
      text += letters[random_below(key_from_seed(5), i, letters.size())];
  }
  ThreadPool pool(3);
  for (const json& golden : golden_cases()) {
    INFO(golden["name"]);
    const auto tokenizer = tokenizer_of(golden["tokenizer"].dump());
    for (const std::string& text : texts)
      CHECK(tokenizer->encode_long({text, "text"}, pool) == tokenizer->encode({text, "text"}));
  }
}

TEST_CASE("hf: text that is not UTF-8 is refused with its place", "[text]") {
  const auto tokenizer = tokenizer_of(byte_level());
  const std::string error = failure_of(ErrorKind::kData, [&] {
    tokenizer->encode({"one\ncaf\xE9!", "poem.txt"});
  });
  CHECK_THAT(error, Catch::StartsWith("error: the text is not UTF-8: byte 0xe9\n"
                                      "  at       poem.txt: byte 7 (line 2)\n"));
}

TEST_CASE("hf: broken characters decode to U+FFFD, one for each broken beginning", "[text]") {
  const auto tokenizer = tokenizer_of(byte_level());
  const std::vector<int32_t> ids = tokenizer->encode({"\xF0\x9F\x98\x80", "text"});
  REQUIRE(ids.size() == 4);
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(tokenizer->decode({{ids[0], ids[1], ids[2]}}) == bad);
  CHECK(tokenizer->decode({{ids[1], ids[2]}}) == bad + bad);
  CHECK(tokenizer->decode({{ids[0], ids[0]}}) == bad + bad);
}

TEST_CASE("hf: a tokenizer file that is wrong is refused with the place", "[text]") {
  const std::string model = R"("model":{"type":"WordLevel","unk_token":"a","vocab":{"a":0}})";
  const auto unknown = [&](const std::string& what, const std::string& key) {
    const std::string error = error_of(cat("{\"", key, "\":{\"type\":\"Odd\"},", model, "}"));
    CHECK_THAT(error, Catch::StartsWith(cat("error: the tokenizer has a ", what,
                                            " of an unknown type, \"Odd\"\n  at       the saved "
                                            "tokenizer: ",
                                            key, "\n  allowed  ")));
  };
  unknown("normalizer", "normalizer");
  unknown("pre-tokenizer", "pre_tokenizer");
  unknown("post-processor", "post_processor");
  unknown("decoder", "decoder");
  CHECK_THAT(error_of(R"({"model":{"type":"Odd","vocab":{}}})"),
             Catch::StartsWith("error: the tokenizer has a model of an unknown type, \"Odd\""));
  CHECK_THAT(error_of("{}"), Catch::Contains("the tokenizer file has no \"model\""));
  CHECK_THAT(error_of(R"({"model":{"type":"BPE"}})"), Catch::Contains("has no \"vocab\""));
  CHECK_THAT(error_of(R"({"model":{"type":"BPE","vocab":{"a":-1}}})"),
             Catch::Contains("the token \"a\" has an impossible id"));
  CHECK_THAT(error_of(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}})"),
             Catch::Contains("a merge names the token \"b\", which is not in the vocabulary") &&
                 Catch::Contains("model.merges[0]"));
  CHECK_THAT(error_of(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["ab"]}})"),
             Catch::Contains("a merge is no pair of tokens"));
  CHECK_THAT(error_of(cat(R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},)",
                          R"("behavior":"Isolated"},)", model, "}")),
             Catch::Contains("the regular expression \"(a\" can't be read: "));
  CHECK_THAT(
      error_of(cat(R"({"normalizer":{"type":"Replace","pattern":7,"content":""},)", model, "}")),
      Catch::Contains("\"pattern\" of the tokenizer file is missing or of the wrong form"));
}

TEST_CASE("hf: an expression that tries without end is refused", "[text]") {
  const auto tokenizer = tokenizer_of(
      R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a+)+(a+)+(a+)+$"},)"
      R"("behavior":"Isolated"},"model":{"type":"WordLevel","unk_token":"a","vocab":{"a":0}}})");
  CHECK_THAT(failure_of(ErrorKind::kData,
                        [&] {
                          tokenizer->encode({std::string(5000, 'a') + "b", "text"});
                        }),
             Catch::Contains("takes too many steps on a text"));
}

TEST_CASE("hf: a normalizer that lengthens a text beyond measure is refused", "[text]") {
  std::string steps;
  for (int i = 0; i < 40; ++i)
    steps += cat(i ? "," : "", R"({"type":"Replace","pattern":{"String":"a"},"content":"aa"})");
  const auto tokenizer =
      tokenizer_of(cat(R"({"normalizer":{"type":"Sequence","normalizers":[)", steps,
                       R"(]},"model":{"type":"WordLevel","unk_token":"a","vocab":{"a":0}}})"));
  CHECK_THAT(failure_of(ErrorKind::kData,
                        [&] {
                          tokenizer->encode({"a", "text"});
                        }),
             Catch::StartsWith("error: the normalizer makes a text of 1 bytes longer than") &&
                 Catch::Contains("normalizer"));
}

TEST_CASE("hf: a word without any token is refused where nothing stands for unknown ones",
          "[text]") {
  const auto tokenizer =
      tokenizer_of(R"({"model":{"type":"WordLevel","unk_token":"no","vocab":{"a":0}}})");
  CHECK(tokenizer->encode({"a", "text"}) == std::vector<int32_t>{0});
  CHECK_THAT(failure_of(ErrorKind::kData,
                        [&] {
                          tokenizer->encode({"b", "text"});
                        }),
             Catch::StartsWith("error: a word is not in the vocabulary"));
}
