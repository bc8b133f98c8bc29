// Texts as Python's str sees them: characters, blanks, case, quoting.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/utf8.h"

namespace levanter::text::jinja {

using Pieces = std::vector<std::string_view>;

/// error  Fault when a text of that many bytes is over the limit
void check_text_size(size_t bytes);

/// Calls fn(scalar, bytes) for each character; a broken byte is U+FFFD.
template <class Fn>
void each_character(std::string_view text, Fn&& fn) {
  for (size_t at = 0; at < text.size();) {
    uint32_t scalar = 0xFFFD;
    const int size = read_scalar(text, at, scalar);
    const std::string_view bytes = text.substr(at, size == 0 ? 1 : static_cast<size_t>(size));
    fn(size == 0 ? 0xFFFD : scalar, bytes);
    at += bytes.size();
  }
}
/// Reads the whole text as a number, a whole one to a base where that is given.
template <class Number, class... Base>
bool read_number(std::string_view text, Number& value, Base... base) {
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value, base...);
  return !text.empty() && end.ec == std::errc() && end.ptr == text.data() + text.size();
}
/// The scalars of a text, each as its own bytes; a byte that is no UTF-8 stands for itself.
Pieces characters_of(std::string_view text);
int64_t character_count(std::string_view text);
/// The byte at which character `index` begins (text.size() behind the last).
size_t byte_of_character(std::string_view text, int64_t index);

enum class Side { kBoth, kLeft, kRight };
/// Without blanks at its ends, as str.strip().
std::string_view strip(std::string_view text, Side side = Side::kBoth);
/// Without any of these characters at its ends.
std::string_view strip(std::string_view text, std::string_view characters, Side side);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
/// As str.casefold().
std::string fold_case(std::string_view text);
/// The first character in upper case, the others in lower.
std::string capitalize(std::string_view text);
/// As str.title(): the first letter after what is no letter.
std::string title_letters(std::string_view text);
/// As the filter `title`: the first character after blanks and opening brackets.
std::string title_words(std::string_view text);
std::string swap_case(std::string_view text);
/// As str.isupper(), str.islower(): what has case is so, and something has.
bool is_upper(std::string_view text);
bool is_lower(std::string_view text);

enum class CharacterKind { kLetter, kDecimal, kBlank, kWord, kPrintable };
bool is_kind(uint32_t scalar, CharacterKind kind);
/// Whether the text has a character and all are of that kind.
bool all_of_kind(std::string_view text, CharacterKind kind);

/// Pieces between blanks, at most `most` cuts (-1 any number), from the left or the right.
Pieces split_blanks(std::string_view text, int64_t most, bool from_right);
/// Pieces between separators.
Pieces split_at(std::string_view text, std::string_view separator, int64_t most, bool from_right);
/// As str.splitlines().
Pieces split_lines(std::string_view text);
/// `old` by `fresh`, the first `most` times (-1 always).
std::string replace(std::string_view text, std::string_view old, std::string_view fresh,
                    int64_t most);
int64_t count_of(std::string_view text, std::string_view part);
std::string repeat(std::string_view text, int64_t times);

/// & < > ' " as HTML writes them.
std::string escape_html(std::string_view text);
/// How many \w+ there are.
int64_t word_count(std::string_view text);

}  // namespace levanter::text::jinja
