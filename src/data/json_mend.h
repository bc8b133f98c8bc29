// Records that are JSON to Python but not to the standard: NaN, numbers of any length, halves of
// surrogate pairs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace levanter::data {

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

}  // namespace levanter::data
