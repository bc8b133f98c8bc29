// What tokenizers ask of Unicode: classes of characters, and the alphabet of byte-level tokenizers.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "text/utf8.h"

namespace levanter::text::hf {

/// Properties of a character, bits of one byte.
enum CharClass : uint8_t {
  kLetter = 1,       ///< \p{L}
  kNumber = 2,       ///< \p{N}
  kSpace = 4,        ///< White_Space
  kPunctuation = 8,  ///< \p{P}
  kMark = 16,        ///< \p{M}
  kNonspacing = 32,  ///< \p{Mn}
  kOther = 64,       ///< \p{C} that is assigned: control, format, private use
  kWord = 128,       ///< \w
};
inline constexpr uint16_t kSymbol = 256;  ///< \p{S}, of AddedRanges alone

/// The classes of all characters: a page for each 256 of them. Letters, numbers and words are those
/// of Unicode 16. Where Hugging Face's own tables are old so are ours: punctuation, nonspacing
/// marks and others are those of Unicode 8, marks those of Unicode 9.
class CharClasses final {
 public:
  static const CharClasses& get();

  uint8_t of(uint32_t scalar) const { return pages_[page_of_[scalar >> 8]][scalar & 255]; }
  uint8_t of_ascii(uint8_t byte) const { return pages_[0][byte]; }

 private:
  CharClasses();
  /// Takes classes off characters that are younger than Hugging Face's tables.
  void make_older();

  std::array<uint16_t, kScalarLimit / 256> page_of_{};
  std::unique_ptr<std::array<uint8_t, 256>[]> pages_;
  size_t count_ = 0;
};

/// Characters from `first` to `last`.
struct ScalarRange {
  uint32_t first, last;
};

/// Whether a character is in one of the ranges, which rise.
inline bool is_in(uint32_t scalar, std::span<const ScalarRange> ranges) {
  if (scalar < ranges.front().first) return false;
  const auto range = std::lower_bound(ranges.begin(), ranges.end(), scalar,
                                      [](const ScalarRange& r, uint32_t s) { return r.last < s; });
  return range != ranges.end() && range->first <= scalar;
}

/// Characters that have entered Unicode after 15.0, those of one kind.
struct AddedRanges {
  uint16_t classes;  ///< of CharClass, or kSymbol
  std::span<const ScalarRange> ranges;
};
std::span<const AddedRanges> added_ranges();

/// Whether a character stays as and where it is in every Unicode form, as it is too young for
/// Hugging Face's tables.
bool is_formless(uint32_t scalar);

/// Reads a scalar of text that is known to be UTF-8 and moves `p` behind it.
inline uint32_t next_scalar(const char*& p) {
  const auto byte = [&](int i) { return static_cast<uint8_t>(p[i]); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return ++p, lead;
  if (lead < 0xE0) {
    const uint32_t scalar = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    return p += 2, scalar;
  }
  if (lead < 0xF0) {
    const uint32_t scalar = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    return p += 3, scalar;
  }
  const uint32_t scalar =
      (lead & 7) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  return p += 4, scalar;
}

/// Bytes of the character that begins with this byte, in text that is UTF-8.
inline size_t length_at(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  if (byte < 0x80) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

/// Radford et al. 2019: the printable character that stands for a byte, and the reverse.
uint32_t byte_character(uint8_t byte);
/// The byte that a character stands for, or -1.
int character_byte(uint32_t scalar);
/// The small letter of a capital one, or the character itself.
uint32_t small_letter(uint32_t scalar);

/// The text with a character for each byte.
std::string to_byte_characters(std::string_view text);
/// The reverse; false, with nothing appended, when a character stands for no byte.
bool append_bytes(std::string_view characters, std::string& out);

}  // namespace levanter::text::hf
