// Patches of JSON texts: what they name changes, and nothing else is touched or read.
#include "json/patch.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "json/members.h"

using namespace levanter;
using nlohmann::json;

TEST_CASE("the members of an object are found as they stand", "[json]") {
  const auto members =
      members_of(R"( {"a": [1, {"b": "}"}], "c\"": "x,\"y" ,"d":-1e3 , "e": {} } )");
  REQUIRE(members.size() == 4);
  CHECK(members[0].key == "\"a\"");
  CHECK(members[0].value == R"([1, {"b": "}"}])");
  CHECK(members[1].key == R"("c\"")");
  CHECK(members[1].value == R"("x,\"y")");
  CHECK(trim(members[2].value) == "-1e3");
  CHECK(members[3].value == "{}");
  CHECK(members_of("{}").empty());
}

TEST_CASE("a patch changes what it names, and leaves the rest of the text", "[json]") {
  const std::string text =
      R"({ "keep" : {"z":1,"a":2.50}, "p": {"type": "x", "flag": true}, "n": 7 })";
  CHECK(patch_json(text, R"({"p": {"flag": false}})") ==
        R"({ "keep" : {"z":1,"a":2.50}, "p": {"type":"x","flag":false}, "n": 7 })");
  CHECK(patch_json(text, R"({"p": {"flag": true}})") == text);
  const json removed = json::parse(patch_json(text, R"({"p": {"flag": null}, "n": {"m": 1}})"));
  CHECK(removed["p"] == json{{"type", "x"}});
  CHECK(removed["n"] == json{{"m", 1}});
  CHECK(json::parse(patch_json(text, R"({"new": [1]})"))["new"] == json{1});
  CHECK(patch_json("{}", R"({"new": 1})") == R"({"new": 1})");
  CHECK(patch_json("[1]", R"({"new": 1})") == "[1]");
}

TEST_CASE("a patch takes no time for what it does not name", "[json]") {
  std::string vocabulary;
  for (int i = 0; i < 200'000; ++i) vocabulary += cat(i == 0 ? "" : ",", "\"word", i, "\":", i);
  const std::string text = cat(R"({"model":{"vocab":{)", vocabulary, R"(}},"p":{"flag":true}})");
  CHECK(patch_json(text, R"({"p":{"flag":false}})").ends_with(R"("p":{"flag":false}})"));
}
