// What tokenizers ask of Unicode: classes of characters, and the alphabet of byte-level tokenizers.
#include "text/hf/unicode.h"

#include <utf8proc.h>

namespace levanter::text::hf {
namespace {

/// utf8proc numbers the categories by their first letters: L, M, N, P, S, Z, C.
constexpr int classes_of_category(int category) {
  if (category == UTF8PROC_CATEGORY_CN || category == UTF8PROC_CATEGORY_CS) return 0;
  if (category <= UTF8PROC_CATEGORY_LO) return kLetter | kWord;
  if (category == UTF8PROC_CATEGORY_MN) return kMark | kNonspacing | kWord;
  if (category <= UTF8PROC_CATEGORY_ME) return kMark | kWord;
  if (category == UTF8PROC_CATEGORY_NO) return kNumber;
  if (category < UTF8PROC_CATEGORY_NO) return kNumber | kWord;
  if (category == UTF8PROC_CATEGORY_PC) return kPunctuation | kWord;
  if (category <= UTF8PROC_CATEGORY_PO) return kPunctuation;
  if (category <= UTF8PROC_CATEGORY_SO) return 0;
  return category <= UTF8PROC_CATEGORY_ZP ? kSpace : kOther;
}
constexpr auto kOfCategory = [] {
  std::array<uint8_t, UTF8PROC_CATEGORY_CO + 1> of{};
  for (size_t i = 0; i < of.size(); ++i)
    of[i] = static_cast<uint8_t>(classes_of_category(static_cast<int>(i)));
  return of;
}();

/// Small letters of capital ones that entered Unicode after the library's tables.
constexpr uint32_t kNewSmall[][2] = {
    {0x1C89, 0x1C8A}, {0xA7CB, 0x264}, {0xA7CC, 0xA7CD}, {0xA7DA, 0xA7DB}, {0xA7DC, 0x19B},
};

}  // namespace

const CharClasses& CharClasses::get() {
  static const CharClasses kClasses;
  return kClasses;
}

CharClasses::CharClasses() {
  // Page 0 is the first 256 characters', page 1 that of pages without any class.
  constexpr size_t kMostPages = 2 + kScalarLimit / 256;
  pages_ = std::make_unique<std::array<uint8_t, 256>[]>(kMostPages);
  page_of_.fill(1);
  page_of_[0] = 0;
  count_ = 2;
  const auto fill = [&](uint32_t first, uint32_t limit) {
    for (uint32_t scalar = first; scalar < limit; scalar += 256) {
      std::array<uint8_t, 256> classes{};
      bool any = false;
      for (uint32_t i = 0; i < 256; ++i) {
        classes[i] = kOfCategory[utf8proc_category(static_cast<int32_t>(scalar + i))];
        any = any || classes[i] != 0;
      }
      if (!any) continue;
      const uint32_t index = scalar >> 8;
      if (index != 0) page_of_[index] = static_cast<uint16_t>(count_++);
      pages_[page_of_[index]] = classes;
    }
  };
  fill(0, 0x40000);
  fill(0xE0000, kScalarLimit);
  for (const uint32_t control : {9, 10, 11, 12, 13, 0x85}) pages_[0][control] |= kSpace;
  // The symbols that are Alphabetic, and the joiners, which \w takes in.
  for (const auto& [first, last] : {std::pair{0x24B6u, 0x24E9u},
                                    {0x1F130u, 0x1F149u},
                                    {0x1F150u, 0x1F169u},
                                    {0x1F170u, 0x1F189u},
                                    {0x200Cu, 0x200Du}})
    for (uint32_t scalar = first; scalar <= last; ++scalar)
      pages_[page_of_[scalar >> 8]][scalar & 255] |= kWord;
  for (const auto& [classes, ranges] : added_ranges())
    for (const ScalarRange& range : ranges)
      for (uint32_t scalar = range.first; scalar <= range.last; ++scalar) {
        uint16_t& of = page_of_[scalar >> 8];
        if (of == 1) of = static_cast<uint16_t>(count_++);
        pages_[of][scalar & 255] =
            static_cast<uint8_t>(classes & (kLetter | kNumber | kSpace | kWord));
      }
  make_older();
}

uint32_t small_letter(uint32_t scalar) {
  for (const auto& [capital, small] : kNewSmall)
    if (scalar == capital) return small;
  if (scalar >= 0x10D50 && scalar <= 0x10D65) return scalar + 0x20;
  return static_cast<uint32_t>(utf8proc_tolower(static_cast<int32_t>(scalar)));
}

uint32_t byte_character(uint8_t byte) {
  const auto printable = [](uint32_t b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  if (printable(byte)) return byte;
  // The others, in order, are 256, 257, ...: 0 to 32, 127 to 160, 173.
  if (byte <= 32) return 256u + byte;
  return byte <= 160 ? 256u + 33 + (byte - 127u) : 256u + 67;
}

int character_byte(uint32_t scalar) {
  if (scalar < 256)
    return byte_character(static_cast<uint8_t>(scalar)) == scalar ? static_cast<int>(scalar) : -1;
  if (scalar <= 256 + 32) return static_cast<int>(scalar - 256);
  if (scalar <= 256 + 66) return static_cast<int>(scalar - 256 - 33 + 127);
  return scalar == 256 + 67 ? 173 : -1;
}

std::string to_byte_characters(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  for (const char c : text) append_scalar(out, byte_character(static_cast<uint8_t>(c)));
  return out;
}

bool append_bytes(std::string_view characters, std::string& out) {
  const size_t before = out.size();
  for (const char *p = characters.data(), *end = p + characters.size(); p < end;) {
    const int byte = character_byte(next_scalar(p));
    if (byte < 0) return out.resize(before), false;
    out += static_cast<char>(byte);
  }
  return true;
}

}  // namespace levanter::text::hf
