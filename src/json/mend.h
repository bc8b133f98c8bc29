// Texts that are JSON to Python but not to the standard: NaN, numbers of any length, halves of
// surrogate pairs.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace levanter {

/// What stands, as a string that begins with it, in the place of a number that has no other form:
/// no text that people write holds U+0001.
inline constexpr std::string_view kOddNumber = "\x01number ";

struct MendedJson {
  std::string text;
  int64_t numbers = 0;     ///< NaN, Infinity, and those too large for 64 bits: now strings
  int64_t surrogates = 0;  ///< halves of a pair: now U+FFFD
};

/// The text with what a strict parser refuses and Python's does not put into other words; whatever
/// else is wrong with it stays.
MendedJson mend_json(std::string_view json);

/// A number that stands as a string.
struct OddNumber {
  std::string_view digits;  ///< as it was written
  double value = 0;         ///< what Python's float() makes of it: NaN, an infinity, the nearest
  bool is_whole = false;    ///< so that Python keeps all its digits
};

/// The number that a string of a mended text stands for; nothing for any other string.
std::optional<OddNumber> odd_number(std::string_view text);

/// A value of a mended text, with an odd number as it was written.
std::string as_written(const nlohmann::ordered_json& value);

/// A JSON text as Python reads it, with odd numbers as doubles; what is no JSON to Python either is
/// discarded.
nlohmann::json parse_as_python(std::string_view json);
nlohmann::ordered_json parse_in_order_as_python(std::string_view json);

}  // namespace levanter
