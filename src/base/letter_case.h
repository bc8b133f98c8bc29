// Capital and small letters, where one may become several (Unicode 15, SpecialCasing.txt).
#pragma once

#include <string>

namespace levanter {

enum class LetterCase {
  kLower,
  kUpper,
  kTitle,   ///< as the first letter of a word
  kFolded,  ///< as texts are compared whose case is no matter
};

/// The character in that case, by itself: "SS", "Ss" and "ss" for 'ß'. As Python's str.upper(),
/// str.title(), str.lower() and str.casefold() of one character.
std::u32string in_case(char32_t character, LetterCase to);

/// Whether the character is a capital or small letter, or has one.
bool is_cased(char32_t character);

/// Whether a word goes on over the character though it has no case: an accent, an apostrophe
/// (Unicode's Case_Ignorable).
bool is_case_ignorable(char32_t character);

}  // namespace levanter
