// Rewrites text before it is split: Unicode forms, case, accents, spaces.
#include "text/hf/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "base/error.h"
#include "base/strings.h"
#include "text/hf/component.h"
#include "text/hf/pattern.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

uint8_t classes_of(uint32_t scalar) { return CharClasses::get().of(scalar); }

/// Characters that NFC keeps whatever stands before them; not all that it keeps.
constexpr ScalarRange kStable[] = {
    {0x80, 0x2FF},    {0x400, 0x482},   {0x48A, 0x52F},   {0x2010, 0x2027},   {0x2030, 0x205F},
    {0x2500, 0x27FF}, {0x3001, 0x3029}, {0x3041, 0x3096}, {0x309B, 0x30FF},   {0x3400, 0x4DBF},
    {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3}, {0xFF00, 0xFFEF}, {0x1F300, 0x1FAFF},
};
/// What BERT takes for Chinese.
constexpr ScalarRange kChinese[] = {
    {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
    {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F},
};
/// What SentencePiece's "nmt" rules leave out, and what they make a space.
constexpr ScalarRange kNmtLost[] = {
    {1, 8}, {0xB, 0xB}, {0xE, 0x1F}, {0x7F, 0x7F}, {0x8F, 0x8F}, {0x9F, 0x9F},
};
constexpr ScalarRange kNmtSpaces[] = {
    {9, 0xD},         {0x1680, 0x1680}, {0x200B, 0x200F}, {0x2028, 0x2029},
    {0x2581, 0x2581}, {0xFEFF, 0xFEFF}, {0xFFFD, 0xFFFD},
};

/// The text with each character as `map(scalar, out)` writes it.
template <class Map>
std::string map_scalars(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (const char *p = text.data(), *end = p + text.size(); p < end;) map(next_scalar(p), out);
  return out;
}

/// The Unicode form of a text, by the library.
std::string unicode_form(std::string_view text, int options) {
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &made,
                   static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  LEV_CHECK(size >= 0, "a text that is UTF-8 has no Unicode form");
  std::string out(reinterpret_cast<char*>(made), static_cast<size_t>(size));
  std::free(made);
  return out;
}

/// NFC, NFD, NFKC or NFKD. A character before U+0080 stands for itself in all of them and never
/// joins what is before it, so only stretches around other characters go through the library.
class FormStep final {
 public:
  explicit FormStep(int options) : options_(options) {}

  std::optional<std::string> operator()(std::string_view text) const {
    if (next_changed(text, 0) == text.size()) return std::nullopt;
    std::string out;
    out.reserve(text.size() + text.size() / 8);
    size_t done = 0;
    while (done < text.size()) {
      const size_t changed = next_changed(text, done);
      size_t begin = changed;
      while (begin > done && changed < text.size() && !is_ascii(text[begin])) --begin;
      size_t end = changed;
      while (end < text.size() && !is_ascii(text[end])) ++end;
      out.append(text, done, begin - done);
      append_form(text.substr(begin, end - begin), out);
      done = end;
    }
    return out;
  }

 private:
  static bool is_ascii(char c) { return static_cast<uint8_t>(c) < 0x80; }

  /// Appends the form of a stretch, which formless characters divide.
  void append_form(std::string_view text, std::string& out) const {
    size_t done = 0;
    const auto flush = [&](size_t until) {
      if (until > done) out += unicode_form(text.substr(done, until - done), options_);
    };
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const auto at = static_cast<size_t>(p - text.data());
      if (!is_formless(next_scalar(p))) continue;
      flush(at);
      done = static_cast<size_t>(p - text.data());
      out += text.substr(at, done - at);
    }
    flush(text.size());
  }

  /// The first character from `at` on that the form may change, or the text's end.
  size_t next_changed(std::string_view text, size_t at) const {
    const bool composes = options_ == UTF8PROC_COMPOSE;
    const char *p = text.data() + at, *end = text.data() + text.size();
    while (p < end) {
      const char* q = p;
      const uint32_t scalar = next_scalar(q);
      if (scalar >= 0x80 && !(composes && is_in(scalar, kStable))) break;
      p = q;
    }
    return static_cast<size_t>(p - text.data());
  }

  int options_;
};

std::string lowercase(std::string_view text) {
  return map_scalars(text, [](uint32_t scalar, std::string& out) {
    if (scalar == 0x130) {
      out += 'i';
      scalar = 0x307;
    }
    append_scalar(out, small_letter(scalar));
  });
}

/// Without the white space at either end, or at both.
std::string strip(std::string_view text, bool left, bool right) {
  size_t begin = text.size(), behind = 0;  // of what is no white space
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const auto at = static_cast<size_t>(p - text.data());
    if ((classes_of(next_scalar(p)) & kSpace) != 0) continue;
    begin = std::min(begin, at);
    behind = static_cast<size_t>(p - text.data());
  }
  if (begin == text.size() && behind == 0) return left || right ? "" : std::string(text);
  if (!left) begin = 0;
  if (!right) behind = text.size();
  return std::string(text.substr(begin, behind - begin));
}

/// Leaves out characters of some classes.
template <uint8_t kClasses>
std::string without(std::string_view text) {
  return map_scalars(text, [](uint32_t scalar, std::string& out) {
    if ((classes_of(scalar) & kClasses) == 0) append_scalar(out, scalar);
  });
}

/// SentencePiece's "nmt" rules: control characters leave, odd spaces become spaces.
std::string nmt(std::string_view text) {
  return map_scalars(text, [](uint32_t c, std::string& out) {
    const bool plain = c >= 0x20 && c < 0x7F;
    if (plain || !is_in(c, kNmtLost)) append_scalar(out, !plain && is_in(c, kNmtSpaces) ? ' ' : c);
  });
}

/// BERT's: control characters leave, any white space is a space.
std::string clean(std::string_view text) {
  return map_scalars(text, [](uint32_t c, std::string& out) {
    const uint8_t classes = classes_of(c);
    if ((classes & kSpace) != 0 && (c == 9 || c == 10 || c == 13 || (classes & kOther) == 0))
      out += ' ';
    else if (c != 0 && c != 0xFFFD && (classes & kOther) == 0)
      append_scalar(out, c);
  });
}

/// BERT's: spaces around every Chinese character.
std::string space_chinese(std::string_view text) {
  return map_scalars(text, [](uint32_t c, std::string& out) {
    const bool chinese = is_in(c, kChinese);
    if (chinese) out += ' ';
    append_scalar(out, c);
    if (chinese) out += ' ';
  });
}

using Steps = std::vector<NormalStep>;

void add_bert(Steps& steps, const Value& value) {
  const bool lower = value.flag("lowercase", true);
  if (value.flag("clean_text", true)) steps.push_back(clean);
  if (value.flag("handle_chinese_chars", true)) steps.push_back(space_chinese);
  if (value.flag("strip_accents", lower)) {
    steps.push_back(FormStep{UTF8PROC_DECOMPOSE});
    steps.push_back(without<kNonspacing>);
  }
  if (lower) steps.push_back(lowercase);
}

void add_strip(Steps& steps, const Value& value) {
  steps.push_back([left = value.flag("strip_left", true), right = value.flag("strip_right", true)](
                      std::string_view text) { return strip(text, left, right); });
}

/// No normalizer that serves makes a text this much longer: NFKC 11 times at most, of one letter.
size_t most_bytes(std::string_view text) { return 16 * text.size() + (size_t{64} << 10); }

void check_growth(std::string_view text, size_t bytes, const std::string& place) {
  if (bytes > most_bytes(text))
    throw Error(ErrorKind::kData, cat("the normalizer makes a text of ", text.size(),
                                      " bytes longer than ", most_bytes(text)))
        .at(place)
        .hint("does it put a character in again and again?");
}

void add_replace(Steps& steps, const Value& value) {
  steps.push_back([pattern = Pattern(value["pattern"]), content = value.text("content"),
                   place = value.place](std::string_view text) {
    std::string out = pattern.replace(text, content, most_bytes(text));
    check_growth(text, out.size(), place);
    return out;
  });
}

void add_prepend(Steps& steps, const Value& value) {
  steps.push_back([content = value.text("prepend")](std::string_view text) {
    return text.empty() ? "" : cat(content, text);
  });
}

/// A step without options.
template <auto kStep>
void add_plain(Steps& steps, const Value&) {
  steps.push_back(kStep);
}

template <int kOptions>
void add_form(Steps& steps, const Value&) {
  steps.push_back(FormStep{kOptions});
}

constexpr ComponentKind<Steps> kKinds[] = {
    {"NFC", add_form<UTF8PROC_COMPOSE>},
    {"NFD", add_form<UTF8PROC_DECOMPOSE>},
    {"NFKC", add_form<UTF8PROC_COMPOSE | UTF8PROC_COMPAT>},
    {"NFKD", add_form<UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT>},
    {"Lowercase", add_plain<lowercase>},
    {"StripAccents", add_plain<without<kMark>>},
    {"Nmt", add_plain<nmt>},
    {"ByteLevel", add_plain<to_byte_characters>},
    {"Strip", add_strip},
    {"Replace", add_replace},
    {"Prepend", add_prepend},
    {"Precompiled", [](Steps& steps, const Value& v) { steps.push_back(make_precompiled(v)); }},
    {"BertNormalizer", add_bert},
};

}  // namespace

Normalizer::Normalizer(const Value& value) : place_(value.place) {
  if (!value.is_null()) add_component(steps_, value, kKinds, "normalizer", "normalizers");
}

std::string_view Normalizer::apply(std::string_view text, std::string& room) const {
  const std::string_view whole = text;
  for (const NormalStep& step : steps_) {
    std::optional<std::string> changed = step(text);  // may read `room` through `text`
    if (changed) check_growth(whole, changed->size(), place_);
    if (changed) text = room = std::move(*changed);
  }
  return text;
}

}  // namespace levanter::text::hf
