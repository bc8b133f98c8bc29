// Fields of JSON records, and each way in which a record can be wrong.
#include "data/files/json_fields.h"

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
  CHECK(list_of(fields.messages("messages")) == R"([{"role":"user","content":"x"}])");
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
  CHECK_THAT(parse_fault("{\"a\": 1.2.3}"), Catch::Contains("the record is not JSON"));
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

TEST_CASE("numbers without a place in 64 bits are faults only where they are read", "[data]") {
  JsonFields fields;
  fields.parse({R"({"text": "one", "id": 123456789012345678901234567890, "score": NaN,
                    "more": [-Infinity, 1e999], "largest": 18446744073709551615,
                    "messages": [{"role": "user", "content": NaN}]})",
                "a.jsonl", 1});
  CHECK(fields.string("text") == "one");
  CHECK(fields.json("largest") == "18446744073709551615");
  const auto of = [&](auto call) { return failure_of(ErrorKind::kData, [&] { call(); }); };
  CHECK(of([&] { fields.string("id"); }) ==
        "error: \"id\" is the number 123456789012345678901234567890, not a string\n"
        "  at       a.jsonl:1");
  CHECK_THAT(of([&] { fields.string("score"); }), Catch::Contains("is the number NaN"));
  CHECK_THAT(of([&] { fields.numbers("more"); }),
             Catch::Contains("\"more[0]\" is the number -Infinity"));
  CHECK_THAT(of([&] { fields.messages("messages"); }),
             Catch::Contains("\"messages[0].content\" is the number NaN, not a text"));
}

TEST_CASE("of two equal keys the last one counts", "[data]") {
  JsonFields fields;
  fields.parse({R"({"a": 1, "m": {"x": "p"}, "a": "last", "m": {"x": "r", "x": "q"}})", "a", 1});
  CHECK(fields.string("a") == "last");
  CHECK(fields.string("m.x") == "q");
}

TEST_CASE("text that is not UTF-8 is replaced and counted, or refused", "[data]") {
  JsonFields fields;
  fields.parse(
      {R"({"a": "x \ud83d y", "b": "\ude00", "c": "\ud83d\ude00", "d": "\\ud83d"})", "a", 1});
  CHECK(fields.string("a") == "x \uFFFD y");
  CHECK(fields.string("b") == "\uFFFD");
  CHECK(fields.string("c") == "\U0001F600");
  CHECK(fields.string("d") == "\\ud83d");
  CHECK(fields.replaced() == 2);
  fields.parse({"{\"a\": \"x\xFF\"}", "a", 2});
  CHECK(fields.string("a") == "x\uFFFD");
  CHECK(fields.replaced() == 3);

  JsonFields strict(BrokenText::kRefuse);
  for (const char* record : {"{\"a\": \"x\xFF\"}", R"({"a": "\ud83d"})"})
    CHECK_THAT(failure_of(ErrorKind::kData,
                          [&] {
                            strict.parse({record, "a.jsonl", 3});
                          }),
               Catch::Contains("UTF-8") && Catch::Contains("a.jsonl:3") &&
                   Catch::Contains("invalid_utf8"));
}

TEST_CASE("lists and objects may be given as their JSON texts", "[data]") {
  JsonFields fields;
  fields.parse({R"({"list": [{"a": 1}], "text": "[{\"a\": 1}]", "blank": " ", "null": null,
                    "object": "{\"k\": 2}", "words": "so it goes", "names": ["x"],
                    "chat": "[{\"role\": \"user\", \"content\": \"hi\"}]"})",
                "a.jsonl", 4});
  CHECK(fields.optional_list("list") == R"([{"a":1}])");
  CHECK(fields.optional_list("text") == R"([{"a":1}])");
  for (const char* key : {"blank", "null", "missing"}) CHECK(fields.optional_list(key).empty());
  CHECK(fields.optional_object("object") == R"({"k":2})");
  CHECK(list_of(fields.messages("chat")) == R"([{"role":"user","content":"hi"}])");
  CHECK(failure_of(ErrorKind::kData, [&] { fields.optional_list("words"); }) ==
        "error: \"words\" is a text that is no JSON: \"so it goes\"\n  at       a.jsonl:4\n"
        "  allowed  a list, or its JSON text");
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { fields.optional_list("names"); }),
             Catch::Contains("\"names[0]\" is a string, not an object"));
}

TEST_CASE("the keys and roles of messages are renamed", "[data]") {
  JsonFields fields;
  fields.parse(
      {R"({"c": [{"from": "human", "value": "hi", "n": 1}, {"value": "yo", "from": "bot"}]})",
       "a.jsonl", 1});
  MessageKeys keys{"from", "value", {{"human", "user"}, {"bot", "assistant"}}};
  CHECK(list_of(fields.messages("c", keys)) ==
        R"([{"role":"user","content":"hi","n":1},{"role":"assistant","content":"yo"}])");
  keys.roles.erase("bot");
  CHECK(failure_of(ErrorKind::kData, [&] { fields.messages("c", keys); }) ==
        "error: \"c[1].from\" is \"bot\", which is no role that is known\n  at       a.jsonl:1\n"
        "  allowed  human\n  hint     name it in the format's roles");
}

TEST_CASE("JSON texts inside a record are read as Python reads them", "[data]") {
  JsonFields fields;
  fields.parse(
      {R"({"tools": "[{\"most\": NaN}]", "chat": [{"role": "user", "content": "x", "n": 1e999}],
                    "text": "[{\"role\": \"user\", \"content\": \"x\", \"id\": 123456789012345678901}]"})",
       "a.jsonl", 4});
  CHECK(fields.optional_list("tools") == R"([{"most":"\u0001number NaN"}])");
  CHECK(list_of(fields.messages("chat")) ==
        R"([{"role":"user","content":"x","n":"\u0001number 1e999"}])");
  CHECK(fields.messages("text")[0].role == "user");
}

TEST_CASE("a text is a chat only where it is one", "[data]") {
  JsonFields fields;
  fields.parse({R"({"list": [], "chat": "[{\"role\": \"user\", \"content\": \"hi\"}]",
                    "code": "[{ x for x in y }]", "data": "[{\"role\": \"admin\"}]", "empty": "[]",
                    "text": "so", "null": null})",
                "a.jsonl", 4});
  CHECK(fields.is_chat("list"));
  CHECK(fields.is_chat("chat"));
  for (const char* key : {"code", "data", "empty", "text"}) CHECK_FALSE(fields.is_chat(key));
  CHECK(failure_of(ErrorKind::kData, [&] { fields.is_chat("null"); }) ==
        "error: \"null\" is null, not a text or messages\n  at       a.jsonl:4");
}
