// Capital and small letters, where one may become several (Unicode 15, SpecialCasing.txt).
#include "base/letter_case.h"

#include <cstdint>
#include <string_view>

#include <utf8proc.h>

namespace levanter {
namespace {

std::u32string folded(utf8proc_int32_t point) {
  utf8proc_int32_t parts[32];
  int last = 0;
  const auto count = utf8proc_decompose_char(point, parts, 32, UTF8PROC_CASEFOLD, &last);
  return {parts, parts + count};
}

/// Letters without a capital have the capitals of their folding, in a title that of its first
/// letter alone.
std::u32string capital(utf8proc_int32_t point, bool title) {
  constexpr char32_t kIota = 0x3B9, kIotaBelow = 0x345;
  const utf8proc_int32_t single = title ? utf8proc_totitle(point) : utf8proc_toupper(point);
  const utf8proc_category_t category = utf8proc_category(point);
  const bool lacks_title =
      category == UTF8PROC_CATEGORY_LL && (single == point || point == 0xDF);  // utf8proc's 'ẞ'
  std::u32string parts = folded(point);
  if (parts.size() == 1 || (title ? !lacks_title : category == UTF8PROC_CATEGORY_LU))
    return {static_cast<char32_t>(single)};
  bool done = false;
  for (char32_t& part : parts) {
    const auto small = static_cast<utf8proc_int32_t>(part);
    if (!title || !done) part = static_cast<char32_t>(utf8proc_toupper(small));
    if (done && part == kIota) part = kIotaBelow;
    done = done || (title && utf8proc_category(small) == UTF8PROC_CATEGORY_LL);
  }
  return parts;
}

}  // namespace

std::u32string in_case(char32_t character, LetterCase to) {
  const auto point = static_cast<utf8proc_int32_t>(character);
  if (to == LetterCase::kFolded) return folded(point);
  if (to != LetterCase::kLower) return capital(point, to == LetterCase::kTitle);
  if (character == U'\u0130') return U"i\u0307";
  return {static_cast<char32_t>(utf8proc_tolower(point))};
}

bool is_cased(char32_t character) {
  const auto point = static_cast<utf8proc_int32_t>(character);
  const utf8proc_category_t category = utf8proc_category(point);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT) ||
         utf8proc_tolower(point) != point || utf8proc_toupper(point) != point;
}

bool is_case_ignorable(char32_t character) {
  constexpr uint32_t kKinds = 1u << UTF8PROC_CATEGORY_MN | 1u << UTF8PROC_CATEGORY_ME |
                              1u << UTF8PROC_CATEGORY_CF | 1u << UTF8PROC_CATEGORY_LM |
                              1u << UTF8PROC_CATEGORY_SK;
  constexpr std::u32string_view kMarks =
      U"'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A";
  return (kKinds >> utf8proc_category(static_cast<utf8proc_int32_t>(character)) & 1) != 0 ||
         kMarks.find(character) != kMarks.npos;
}

}  // namespace levanter
