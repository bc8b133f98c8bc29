// The known splitting patterns, each as a function from where a piece begins to where it ends.
#pragma once

#include "text/hf/unicode.h"

namespace levanter::text::hf {

/// The patterns that are written by hand here; others go through a library.
enum class KnownPattern {
  kNone,
  kGpt2,         ///< 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  kOneDigit,     ///< kThreeDigits with \p{N} for \p{N}{1,3}: Qwen
  kThreeDigits,  ///< (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
                 ///< | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+: Llama 3
};

/// The known pattern that this regular expression is.
KnownPattern known_pattern(std::string_view expression);

/// Finds the pieces of text that is UTF-8, one after the other. Every pattern matches at every
/// place, so pieces follow one another without gaps.
class PieceFinder final {
 public:
  explicit PieceFinder(const char* end) : end_(end), classes_(CharClasses::get()) {}

  /// The end of the piece that begins at `p`, before the text's end.
  template <KnownPattern kPattern>
  const char* next(const char* p) const {
    if constexpr (kPattern == KnownPattern::kGpt2) return next_gpt2(p);
    if constexpr (kPattern == KnownPattern::kOneDigit) return next_llama<1>(p);
    return next_llama<3>(p);
  }

 private:
  static constexpr uint8_t kKinds = kLetter | kNumber | kSpace;

  /// kLetter, kNumber, kSpace or 0 of the character at `p`, which moves behind it.
  uint8_t take(const char*& p) const {
    const auto byte = static_cast<uint8_t>(*p);
    if (byte < 0x80) return ++p, classes_.of_ascii(byte) & kKinds;
    return classes_.of(next_scalar(p)) & kKinds;
  }
  /// Where the characters of this kind from `p` on end.
  const char* run(const char* p, uint8_t kind) const {
    while (p < end_) {
      const char* q = p;
      if (take(q) != kind) break;
      p = q;
    }
    return p;
  }
  static bool is_newline(char c) { return c == '\n' || c == '\r'; }

  /// The end of the contraction at `p`, an apostrophe; `p` when there is none.
  template <bool kAnyCase>
  const char* contraction(const char* p) const {
    const auto at = [&](int i) {
      const char c = p + i < end_ ? p[i] : '\0';
      return kAnyCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    const char a = at(1), b = at(2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return p + 3;
    // U+017F is an s in either case.
    if (kAnyCase && a == '\xC5' && b == '\xBF') return p + 3;
    return p;
  }

  /// The end of the piece in the white space [p, q): all but its last character where something
  /// else follows, which is for the next piece.
  const char* space_piece(const char* p, const char* q) const {
    if (q == end_) return q;
    const char* last = q - 1;
    while ((static_cast<uint8_t>(*last) & 0xC0) == 0x80) --last;
    return last == p ? q : last;
  }

  const char* next_gpt2(const char* p) const {
    if (*p == '\'')
      if (const char* q = contraction<false>(p); q != p) return q;
    const char* q = p;
    uint8_t kind = take(q);
    if (*p == ' ' && q < end_) {
      const char* after = q;
      const uint8_t next = take(after);
      if (next != kSpace) {
        kind = next;
        q = after;
      }
    }
    q = run(q, kind);
    return kind == kSpace ? space_piece(p, q) : q;
  }

  template <int kDigits>
  const char* next_llama(const char* p) const {
    if (*p == '\'')
      if (const char* q = contraction<true>(p); q != p) return q;
    const char* q = p;
    const uint8_t kind = take(q);
    if (kind == kLetter) return run(q, kLetter);
    if (kind == kNumber) {
      for (int digits = 1; digits < kDigits && q < end_; ++digits) {
        const char* after = q;
        if (take(after) != kNumber) break;
        q = after;
      }
      return q;
    }
    if (q < end_ && !is_newline(*p)) {
      const char* after = q;
      const uint8_t next = take(after);
      if (next == kLetter) return run(after, kLetter);
      if (*p == ' ' && next == 0) return others(after);
    }
    return kind == 0 ? others(q) : spaces(p, q);
  }
  /// Behind characters of no kind and the line ends after them.
  const char* others(const char* q) const {
    q = run(q, 0);
    while (q < end_ && is_newline(*q)) ++q;
    return q;
  }
  /// White space from `p` on, `q` behind its first character: up to its last line end if it has
  /// one.
  const char* spaces(const char* p, const char* q) const {
    q = run(q, kSpace);
    for (const char* last = q; last > p; --last)
      if (is_newline(last[-1])) return last;
    return space_piece(p, q);
  }

  const char* end_;
  const CharClasses& classes_;
};

}  // namespace levanter::text::hf
