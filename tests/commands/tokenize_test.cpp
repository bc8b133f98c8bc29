// `levanter tokenize`: JSON lines to ids and back, in order, and totals.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Ended tokenize(std::vector<std::string> words, const std::string& input) {
  words.insert(words.begin(), {"tokenize", "--tokenizer", "bytes"});
  TemporaryFolder folder;
  return run_program(words, {.folder = folder.path(), .input = input});
}

}  // namespace

TEST_CASE("tokenize answers every line with its ids, in order", "[commands]") {
  std::string input, expected;
  for (int i = 0; i < 300; ++i) {
    const std::string text = std::string(static_cast<size_t>(i % 7), 'a') + "\n\xC3\xA9";
    const std::vector<int> ids(text.begin(), text.end());
    input += cat("{\"id\": ", i, ", \"text\": ", quote(text), "}\n");
    expected += "{\"ids\": [";
    for (size_t k = 0; k < text.size(); ++k)
      expected += cat(k == 0 ? "" : ", ", static_cast<int>(static_cast<uint8_t>(text[k])));
    expected += "]}\n";
  }
  for (const char* threads : {"1", "3"}) {
    const Ended ended = tokenize({"--threads", threads}, input);
    CHECK(ended.code == 0);
    CHECK(ended.err == "");
    CHECK(ended.out == expected);
  }
  CHECK(tokenize({}, cat("\xEF\xBB\xBF", input)).out == expected);  // as some programs begin files
  // Back again, the last line without an end.
  expected.pop_back();
  const Ended back = tokenize({"--decode"}, expected);
  CHECK(back.out.starts_with("{\"text\": \"\\n\xC3\xA9\"}\n{\"text\": \"a\\n\xC3\xA9\"}\n"));
  CHECK(std::count(back.out.begin(), back.out.end(), '\n') == 300);
}

TEST_CASE("tokenize counts documents, bytes and tokens", "[commands]") {
  const Ended ended =
      tokenize({"--count", "--threads", "2"}, "{\"text\":\"abc\"}\n\n{\"text\":\"\\u00e9\"}\n");
  CHECK(ended.code == 0);
  const auto totals = nlohmann::json::parse(ended.out);
  CHECK(totals["documents"] == 2);
  CHECK(totals["bytes"] == 5);
  CHECK(totals["tokens"] == 5);
  CHECK(totals["seconds"].is_number());
  CHECK(
      tokenize({"--count"}, "").out.starts_with("{\"documents\": 0, \"bytes\": 0, \"tokens\": 0"));
}

TEST_CASE("tokenize names the line that it can't read", "[commands]") {
  const Ended cut = tokenize({}, "{\"text\": \"a\"}\n{\"text\": \"b\n");
  CHECK(cut.code == 3);
  CHECK_THAT(cut.err,
             Catch::Contains("the record is cut") && Catch::Contains("at       standard input:2"));
  const Ended other = tokenize({}, "{\"texts\": \"a\"}\n");
  CHECK(other.code == 3);
  CHECK(other.err ==
        "error: a line is no object with \"text\"\n  at       standard input:1\n"
        "  allowed  {\"text\": \"...\"}\n");
  CHECK(cut.out == "{\"ids\": [97]}\n");  // what is good before it is answered
  const Ended unknown =
      tokenize({"--decode"}, "{\"ids\": [97]}\n{\"ids\": [300]}\n{\"ids\": [98]}\n");
  CHECK(unknown.code == 3);
  CHECK(unknown.out == "{\"text\": \"a\"}\n");
  CHECK_THAT(unknown.err, Catch::Contains("standard input:2"));
  const Ended ids = tokenize({"--decode"}, "{\"ids\": [1, 2.5]}\n");
  CHECK(ids.code == 3);
  CHECK_THAT(ids.err, Catch::Contains("\"ids[1]\" is the number 2.5"));
}

TEST_CASE("tokenize refuses what is no tokenizer", "[commands]") {
  const Ended missing = run_program({"tokenize", "--tokenizer", "nowhere"});
  CHECK(missing.code == 3);
  CHECK_THAT(missing.err, Catch::Contains("there is no such tokenizer"));
  const Ended kind = run_program({"tokenize", "--tokenizer", "char"});
  CHECK(kind.code == 2);
  CHECK_THAT(kind.err, Catch::Contains("\"char\" has no vocabulary of its own"));
}

TEST_CASE("tokenize reads JSON as the other commands do", "[commands]") {
  const Ended odd =
      tokenize({}, "{\"text\": \"a\", \"score\": NaN, \"id\": 123456789012345678901}\n");
  CHECK(odd.out == "{\"ids\": [97]}\n");
  const Ended half = tokenize({}, "{\"text\": \"\\ud83d\"}\n");
  CHECK(half.code == 0);
  CHECK(half.out == "{\"ids\": [239, 191, 189]}\n");
  CHECK(half.err == "U+FFFD stands for 1 piece of text that is no UTF-8\n");
}
