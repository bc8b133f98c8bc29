// Texts as Python's str sees them: characters, blanks, case, quoting.
#include "text/jinja/strings.h"

#include <algorithm>

#include <utf8proc.h>

#include "base/letter_case.h"
#include "text/jinja/value.h"

namespace levanter::text::jinja {
namespace {

bool is_blank(uint32_t c) {
  return (c >= 0x9 && c <= 0xD) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

void append_in_case(std::string& out, uint32_t scalar, LetterCase to) {
  for (const char32_t one : in_case(scalar, to)) append_scalar(out, one);
}

/// The text in lower case where it is inside of a word, else as capitals; is_inside(scalar) says
/// whether what follows that character is. The sigma that ends a word is 'ς'.
template <class IsInside>
std::string change_case(std::string_view text, bool inside, LetterCase capitals,
                        IsInside&& is_inside) {
  std::string out;
  bool after_letter = false;
  size_t sigma = text.npos;  // where one is that ends its word so far
  each_character(text, [&](uint32_t scalar, std::string_view) {
    const bool counts = !is_case_ignorable(scalar), cased = is_cased(scalar);
    if (counts && cased && sigma != text.npos) out.replace(sigma, 2, "\u03C3");
    if (counts) sigma = text.npos;
    if (inside && scalar == 0x3A3 && after_letter) {
      sigma = out.size();
      out += "\u03C2";
    } else {
      append_in_case(out, scalar, inside ? LetterCase::kLower : capitals);
    }
    if (counts) after_letter = cased && (inside || capitals == LetterCase::kTitle);
    inside = is_inside(scalar);
  });
  return out;
}

/// The text less the characters at its ends for which `drop` holds.
template <class Drop>
std::string_view strip_if(std::string_view text, Side side, Drop&& drop) {
  uint32_t scalar = 0;
  while (side != Side::kRight && !text.empty()) {
    const int size = read_scalar(text, 0, scalar);
    if (size == 0 || !drop(scalar)) break;
    text.remove_prefix(static_cast<size_t>(size));
  }
  while (side != Side::kLeft && !text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && text.size() - at < 4 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    const int size = read_scalar(text, at, scalar);
    if (size == 0 || at + static_cast<size_t>(size) != text.size() || !drop(scalar)) break;
    text.remove_suffix(static_cast<size_t>(size));
  }
  return text;
}

}  // namespace

void check_text_size(size_t bytes) {
  if (bytes > kMaxText) fail("the template makes a text of more than ", format_bytes(kMaxText));
  Budget::check(bytes);
}

Pieces characters_of(std::string_view text) {
  Pieces out;
  Budget::check(static_cast<size_t>(character_count(text)) * sizeof text);
  each_character(text, [&](uint32_t, std::string_view bytes) { out.push_back(bytes); });
  return out;
}

int64_t character_count(std::string_view text) {
  Budget::spend(text.size() / 256);
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

size_t byte_of_character(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; at < text.size(); ++at)
    if ((static_cast<uint8_t>(text[at]) & 0xC0) != 0x80 && index-- == 0) break;
  Budget::spend(at / 64);
  return at;
}

std::string_view strip(std::string_view text, Side side) { return strip_if(text, side, is_blank); }

std::string_view strip(std::string_view text, std::string_view characters, Side side) {
  std::vector<uint32_t> set;
  each_character(characters, [&](uint32_t scalar, std::string_view) { set.push_back(scalar); });
  return strip_if(text, side, [&](uint32_t scalar) {
    return std::find(set.begin(), set.end(), scalar) != set.end();
  });
}

std::string to_upper(std::string_view text) {
  return change_case(text, false, LetterCase::kUpper, [](uint32_t) { return false; });
}
std::string to_lower(std::string_view text) {
  return change_case(text, true, LetterCase::kTitle, [](uint32_t) { return true; });
}
std::string fold_case(std::string_view text) {
  std::string out;
  each_character(text, [&](uint32_t scalar, std::string_view) {
    append_in_case(out, scalar, LetterCase::kFolded);
  });
  return out;
}
std::string capitalize(std::string_view text) {
  return change_case(text, false, LetterCase::kTitle, [](uint32_t) { return true; });
}
std::string title_letters(std::string_view text) {
  return change_case(text, false, LetterCase::kTitle, is_cased);
}
std::string title_words(std::string_view text) {
  return change_case(text, false, LetterCase::kUpper, [](uint32_t c) {
    return !is_blank(c) && c != '-' && c != '(' && c != '{' && c != '[' && c != '<';
  });
}

std::string swap_case(std::string_view text) {
  Budget::spend(text.size());
  std::string out;
  for (const std::string_view one : characters_of(text)) {
    const std::string upper = to_upper(one);
    out += upper == one ? to_lower(one) : upper;
  }
  return out;
}

bool is_upper(std::string_view text) { return to_upper(text) == text && to_lower(text) != text; }
bool is_lower(std::string_view text) { return to_lower(text) == text && to_upper(text) != text; }

bool is_kind(uint32_t scalar, CharacterKind kind) {
  const utf8proc_category_t c = utf8proc_category(static_cast<utf8proc_int32_t>(scalar));
  const bool letter = c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
  if (kind == CharacterKind::kLetter) return letter;
  if (kind == CharacterKind::kDecimal) return c == UTF8PROC_CATEGORY_ND;
  if (kind == CharacterKind::kBlank) return is_blank(scalar);
  if (kind == CharacterKind::kWord)
    return letter || scalar == '_' || (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO);
  return scalar == ' ' || (c != UTF8PROC_CATEGORY_CN && c < UTF8PROC_CATEGORY_ZS);  // kPrintable
}

bool all_of_kind(std::string_view text, CharacterKind kind) {
  bool all = !text.empty();
  each_character(text, [&](uint32_t scalar, std::string_view) { all &= is_kind(scalar, kind); });
  return all;
}

Pieces split_blanks(std::string_view text, int64_t most, bool from_right) {
  Pieces words;
  bool inside = false;
  each_character(text, [&](uint32_t scalar, std::string_view bytes) {
    if (inside && !is_blank(scalar)) {
      words.back() = {words.back().data(), words.back().size() + bytes.size()};
    } else if (!is_blank(scalar)) {
      words.push_back(bytes);
      Budget::check(words.size() * 2 * sizeof bytes);
    }
    inside = !is_blank(scalar);
  });
  // The piece beyond the last cut keeps the blanks inside it and at its far end.
  const size_t cuts = most < 0 ? words.size() : static_cast<size_t>(most);
  if (words.size() <= cuts) return words;
  if (from_right) {
    words.erase(words.begin(), words.end() - static_cast<ptrdiff_t>(cuts + 1));
    const char* end = words.front().data() + words.front().size();
    words.front() = text.substr(0, static_cast<size_t>(end - text.data()));
  } else {
    words.resize(cuts + 1);
    words.back() = text.substr(static_cast<size_t>(words.back().data() - text.data()));
  }
  return words;
}

Pieces split_at(std::string_view text, std::string_view separator, int64_t most, bool from_right) {
  Pieces out;
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    const std::string_view before = text.substr(0, at), after = text.substr(at + separator.size());
    out.push_back(from_right ? after : before);
    Budget::check(out.size() * 2 * sizeof text);
    text = from_right ? before : after;
  }
  out.push_back(text);
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

Pieces split_lines(std::string_view text) {
  Pieces out;
  size_t begin = 0;
  bool after_return = false;
  each_character(text, [&](uint32_t c, std::string_view bytes) {
    const auto at = static_cast<size_t>(bytes.data() - text.data());
    if (c == '\n' && after_return) {
      begin = at + 1;
    } else if ((c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
               c == 0x2029) {
      out.push_back(text.substr(begin, at - begin));
      Budget::check(out.size() * 2 * sizeof text);
      begin = at + bytes.size();
    }
    after_return = c == '\r';
  });
  if (begin < text.size()) out.push_back(text.substr(begin));
  return out;
}

std::string replace(std::string_view text, std::string_view old, std::string_view fresh,
                    int64_t most) {
  std::string out;
  if (old.empty()) {  // before every character and at the end
    int64_t done = 0;
    each_character(text, [&](uint32_t, std::string_view bytes) {
      if (most < 0 || done++ < most) out += fresh;
      out += bytes;
      check_text_size(out.size());
    });
    if (most < 0 || done < most) out += fresh;
    return out;
  }
  for (; most != 0; --most) {
    const size_t at = text.find(old);
    if (at == std::string_view::npos) break;
    out += text.substr(0, at);
    out += fresh;
    check_text_size(out.size());
    text.remove_prefix(at + old.size());
  }
  return out += text;
}

int64_t count_of(std::string_view text, std::string_view part) {
  if (part.empty()) return character_count(text) + 1;
  int64_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++count;
  return count;
}

std::string repeat(std::string_view text, int64_t times) {
  std::string out;
  if (times <= 0 || text.empty()) return out;
  check_text_size(static_cast<uint64_t>(times) > kMaxText
                      ? kMaxText + 1
                      : static_cast<size_t>(times) * text.size());
  for (int64_t i = 0; i < times; ++i) out += text;
  return out;
}

std::string escape_html(std::string_view text) {
  constexpr std::string_view kMarks = "&<>'\"";
  constexpr std::string_view kNames[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  std::string out;
  for (const char c : text) {
    const size_t found = kMarks.find(c);
    out += found == kMarks.npos ? std::string_view(&c, 1) : kNames[found];
  }
  return out;
}

int64_t word_count(std::string_view text) {
  int64_t count = 0;
  bool inside = false;
  each_character(text, [&](uint32_t scalar, std::string_view) {
    const bool word = is_kind(scalar, CharacterKind::kWord);
    count += word && !inside;
    inside = word;
  });
  return count;
}

}  // namespace levanter::text::jinja
