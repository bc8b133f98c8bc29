// JSON as Python reads it: numbers that the standard does not know, and keys that nobody does.
#include "json/mend.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

using namespace levanter;

TEST_CASE("numbers that only Python reads become strings, but never keys", "[base]") {
  CHECK(mend_json("[NaN, 1, -Infinity]").text ==
        "[\"\\u0001number NaN\", 1, \"\\u0001number -Infinity\"]");
  CHECK(mend_json("{\"NaN\": [NaN], \"a\":NaN}").numbers == 2);
  for (const char* text : {"{NaN:1}", "{NaN : 1}", "{\"a\": 1, Infinity\n: 2}"}) {
    CHECK(mend_json(text).text == text);
    CHECK(parse_as_python(text).is_discarded());
  }
}

TEST_CASE("a config with such numbers is read, and holds doubles", "[base]") {
  const auto json = parse_as_python(
      R"({"a": NaN, "b": [Infinity, 1e999], "c": 123456789012345678901234567890, "d": "NaN"})");
  REQUIRE(json.is_object());
  CHECK(std::isnan(json["a"].get<double>()));
  CHECK(std::isinf(json["b"][0].get<double>()));
  CHECK(json["b"][1].get<double>() > 0);
  CHECK(json["c"].get<double>() == 123456789012345678901234567890.0);
  CHECK(json["d"] == "NaN");
  CHECK(parse_in_order_as_python(R"({"z": NaN, "a": 1})").begin().key() == "z");
  CHECK(parse_as_python("{\"a\": Nan}").is_discarded());
}
