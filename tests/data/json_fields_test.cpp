// Fields of JSON records, and each way in which a record can be wrong.
#include "data/json_fields.h"

#include <catch2/catch.hpp>

#include "base/strings.h"
#include "support/fault.h"

using namespace levanter;
using namespace levanter::data;
using levanter::testing::failure_of;

namespace {

constexpr char kRecord[] =
    R"({"id": 7, "content": "caf\u00e9\n", "meta": {"text": "in", "n": null}, "a.b": "dotted",
        "ids": [1, 2, 3], "w": [0, 0.5, 1.0], "messages": [{"role": "user", "content": "x"}]})";

template <class Call>
std::string fault(std::string_view text, Call call) {
  return failure_of(ErrorKind::kData, [&] {
    JsonFields fields;
    fields.parse({text, "a.jsonl", 3});
    call(fields);
  });
}

std::string parse_fault(std::string_view text) {
  return fault(text, [](const JsonFields&) {});
}

}  // namespace

TEST_CASE("fields are found by key, by dotted path and by a key with a dot", "[data]") {
  JsonFields fields;
  fields.parse({kRecord, "a.jsonl", 1});
  CHECK(fields.string("content") == "café\n");
  CHECK(fields.string("meta.text") == "in");
  CHECK(fields.string("a.b") == "dotted");
  CHECK(fields.integers("ids", 0, 3) == std::vector<int64_t>{1, 2, 3});
  CHECK(fields.numbers("w") == std::vector<double>{0, 0.5, 1});
  CHECK(fields.messages("messages") == R"([{"role":"user","content":"x"}])");
  CHECK(fields.json("w") == "[0,0.5,1.0]");
  CHECK(fields.has("id"));
  CHECK_FALSE(fields.has("meta.n"));
  CHECK_FALSE(fields.has("meta.n.x"));
  CHECK(fields.optional_string("meta.text") == "in");
  CHECK_FALSE(fields.optional_string("none"));
  fields.parse({R"({"content": "next"})", "a.jsonl", 2});
  CHECK(fields.string("content") == "next");
}

TEST_CASE("a record that is cut says where it ends", "[data]") {
  CHECK(parse_fault(R"({"text": "once upo)") ==
        "error: the record is cut: it ends inside a string\n  at       a.jsonl:3\n"
        "  hint     it ends with \"{\\\"text\\\": \\\"once upo\"");
  CHECK_THAT(parse_fault(R"({"text": "x", "ids": [1, 2)"), Catch::Contains("inside an array"));
  CHECK_THAT(parse_fault(R"({"text": "x")"), Catch::Contains("inside an object"));
  const std::string whole = R"({"text": "caf\u00e9 \"q\"", "ids": [1.5, -2e3], "m": {"a": true}})";
  for (size_t size = 1; size < whole.size(); ++size) {
    INFO(whole.substr(0, size));
    CHECK_THAT(parse_fault(whole.substr(0, size)), Catch::Contains("the record is cut"));
  }
}

TEST_CASE("a record that is no JSON object is refused at its line", "[data]") {
  CHECK(parse_fault(R"({"text": x})") ==
        "error: the record is not JSON at byte 10, behind \"{\\\"text\\\": x\"\n"
        "  at       a.jsonl:3\n  hint     each record must be one JSON object");
  CHECK_THAT(parse_fault("plain words"), Catch::Contains("not JSON at byte 1"));
  CHECK(parse_fault("[1]") ==
        "error: the record is an array of 1, not an object\n  at       a.jsonl:3");
  CHECK(parse_fault("{\"a\": \"x\xFF\"}") ==
        "error: the record is not UTF-8: byte 8 of it\n  at       a.jsonl:3\n"
        "  hint     iconv converts a file; or have broken bytes replaced");
  CHECK_THAT(parse_fault("{\"a\": 123456789012345678901234567890}"),
             Catch::Contains("the record is not JSON: "));
  CHECK_THAT(parse_fault(std::string(5000, '[') + std::string(5000, ']')),
             Catch::Contains("the record is not JSON: "));
}

TEST_CASE("a missing key lists those that are there", "[data]") {
  CHECK(fault(R"({"id": 1, "content": "x"})", [](auto& f) { f.string("text"); }) ==
        "error: no key \"text\"; it has id, content\n  at       a.jsonl:3\n"
        "  hint     name the key that holds it in the config");
  CHECK_THAT(fault(R"({"txt": "x"})", [](auto& f) { f.string("text"); }),
             Catch::Contains("did you mean \"txt\""));
  CHECK_THAT(fault("{}", [](auto& f) { f.string("text"); }), Catch::Contains("it has nothing"));
  CHECK_THAT(fault(kRecord, [](auto& f) { f.string("meta.txt"); }),
             Catch::Contains("no key \"txt\" in \"meta\"; it has text, n"));
  CHECK_THAT(fault(kRecord, [](auto& f) { f.string("id.text"); }),
             Catch::Contains("\"id\" is the number 7, not an object"));
}

TEST_CASE("a value of another kind is named", "[data]") {
  const auto of = [](auto call) { return fault(kRecord, call); };
  CHECK(of([](auto& f) { f.string("ids"); }) ==
        "error: \"ids\" is an array of 3, not a string\n  at       a.jsonl:3");
  CHECK_THAT(of([](auto& f) { f.string("meta.n"); }), Catch::Contains("\"meta.n\" is null"));
  CHECK_THAT(of([](auto& f) { f.integers("w", 0, 9); }),
             Catch::Contains("\"w[1]\" is the number 0.5, not a whole number"));
  CHECK_THAT(of([](auto& f) { f.integers("ids", 0, 2); }),
             Catch::Contains("\"ids[2]\" is the number 3") && Catch::Contains("0 to 2"));
  CHECK_THAT(of([](auto& f) { f.numbers("content"); }),
             Catch::Contains("\"content\" is a string, not an array of numbers"));
}

TEST_CASE("messages that are no messages are refused", "[data]") {
  const auto of = [](std::string_view text) {
    return fault(text, [](auto& f) { f.messages("messages"); });
  };
  CHECK_THAT(of(R"({"messages": []})"),
             Catch::Contains("\"messages\" is a chat without a message"));
  CHECK_THAT(of(R"({"messages": ["x"]})"), Catch::Contains("\"messages[0]\" is a string"));
  CHECK_THAT(of(R"({"messages": [{"role": "user"}, {"from": "x"}]})"),
             Catch::Contains("\"messages[1]\" has no \"role\"; it has from"));
  CHECK_THAT(of(R"({"messages": [{"role": 1}]})"),
             Catch::Contains("\"messages[0].role\" is the number 1, not a string"));
}
