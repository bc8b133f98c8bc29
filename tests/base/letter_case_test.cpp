// Capital and small letters, alone: what becomes several characters, and what has no case.
#include "base/letter_case.h"

#include <catch2/catch.hpp>

using namespace levanter;

TEST_CASE("a letter without a capital has those of its folding", "[base]") {
  CHECK(in_case(U'a', LetterCase::kUpper) == U"A");
  CHECK(in_case(U'\u00DF', LetterCase::kUpper) == U"SS");
  CHECK(in_case(U'\u00DF', LetterCase::kTitle) == U"Ss");
  CHECK(in_case(U'\u00DF', LetterCase::kFolded) == U"ss");
  CHECK(in_case(U'\uFB03', LetterCase::kUpper) == U"FFI");
  CHECK(in_case(U'\uFB03', LetterCase::kTitle) == U"Ffi");
  CHECK(in_case(U'\u0149', LetterCase::kTitle) == U"\u02BCN");  // an apostrophe, then the letter
  CHECK(in_case(U'\u01C6', LetterCase::kUpper) == U"\u01C4");   // which have a capital each
  CHECK(in_case(U'\u01C6', LetterCase::kTitle) == U"\u01C5");
  CHECK(in_case(U'\u1E9E', LetterCase::kUpper) == U"\u1E9E");
}

TEST_CASE("an iota below a letter stands beside its capital, and below it in a title", "[base]") {
  CHECK(in_case(U'\u1FB2', LetterCase::kUpper) == U"\u1FBA\u0399");
  CHECK(in_case(U'\u1FB2', LetterCase::kTitle) == U"\u1FBA\u0345");
  CHECK(in_case(U'\u1F88', LetterCase::kUpper) == U"\u1F08\u0399");
  CHECK(in_case(U'\u1F80', LetterCase::kTitle) == U"\u1F88");
}

TEST_CASE("the dot of a capital i stays above the small one", "[base]") {
  CHECK(in_case(U'\u0130', LetterCase::kLower) == U"i\u0307");
  CHECK(in_case(U'\u0130', LetterCase::kUpper) == U"\u0130");
}

TEST_CASE("letters have case, marks leave it open, and signs end a word", "[base]") {
  for (const char32_t letter : U"aZ\u00DF\u01C5\u2160\u24D0")
    if (letter != 0) CHECK(is_cased(letter));
  for (const char32_t mark : U"'\u0301\u00AD\u2019")
    if (mark != 0) CHECK((is_case_ignorable(mark) && !is_cased(mark)));
  for (const char32_t sign : U"1 -\u4E16")
    if (sign != 0) CHECK_FALSE((is_case_ignorable(sign) || is_cased(sign)));
}
