// Format "text": texts of files and of JSON records, BOS and EOS by rule, broken UTF-8.
#include <catch2/catch.hpp>

#include "data/format.h"
#include "support/fault.h"
#include "support/formats.h"
#include "support/made_tokenizer.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

using Ids = std::vector<int32_t>;

std::vector<int32_t> ids_of(const DocumentRules& rules, std::string_view content, bool is_json) {
  std::vector<Document> documents;
  default_format()->make(rules)->add({{content, "f.jsonl", 7}, is_json}, documents);
  REQUIRE(documents.size() == 1);
  return documents[0].tokens;
}

}  // namespace

TEST_CASE("a text record is its text, a JSON record the string at a key", "[data]") {
  const MadeTokenizer made;
  const DocumentRules rules{.tokenizer = &made, .enforce_eos = false};
  CHECK(ids_of(rules, "ab\n", false) == Ids{'a', 'b', '\n'});
  CHECK(ids_of(rules, R"({"id": 3, "text": "a\u00e9"})", true) == Ids{'a', 0xc3, 0xa9});
  CHECK(failure_of(ErrorKind::kData, [&] {
          ids_of(rules, R"({"texts": "a"})", true);
        }).find("f.jsonl:7") != std::string::npos);
}

TEST_CASE("BOS and EOS come by rule, and never twice", "[data]") {
  const MadeTokenizer plain, begins(true);
  const auto ids = [](const MadeTokenizer& made, std::optional<bool> bos, bool eos) {
    return ids_of({&made, bos, eos}, "x", false);
  };
  CHECK(ids(plain, {}, true) == Ids{'x', 257});
  CHECK(ids(plain, {}, false) == Ids{'x'});
  CHECK(ids(plain, true, true) == Ids{256, 'x', 257});
  CHECK(ids(begins, {}, true) == Ids{256, 'x', 257});
  CHECK(ids(begins, true, false) == Ids{256, 'x'});
  CHECK(ids(begins, false, true) == Ids{'x', 257});
}

TEST_CASE("what is no UTF-8 is replaced and counted, or refused", "[data]") {
  const MadeTokenizer made;
  const DocumentRules rules{.tokenizer = &made, .enforce_eos = false};
  const auto format = default_format()->make(rules);
  std::vector<Document> documents;
  format->add({{"a\xff!", "f.txt", 1}, false}, documents);
  format->add({{"{\"text\": \"\xc3(\"}", "f.jsonl", 1}, true}, documents);
  CHECK(documents[0].tokens == Ids{'a', 0xef, 0xbf, 0xbd, '!'});
  CHECK(documents[1].tokens == Ids{0xef, 0xbf, 0xbd, '('});
  CHECK(format->replaced() == 2);
  const MadeFormat strict("type = \"text\"\ninvalid_utf8 = \"refuse\"", rules);
  CHECK(failure_of(ErrorKind::kData, [&] {
          strict.format->add({{"ab\xff", "f.txt", 1}, false}, documents);
        }).find("f.txt: byte 2 (line 1)") != std::string::npos);
}
