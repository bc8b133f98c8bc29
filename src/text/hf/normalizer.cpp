// Rewrites text before it is split: Unicode forms, case, accents, spaces.
#include "text/hf/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "base/strings.h"
#include "text/hf/pattern.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

uint8_t classes_of(uint32_t scalar) { return CharClasses::get().of(scalar); }

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
class FormStep final : public NormalStep {
 public:
  explicit FormStep(int options) : options_(options) {}

  bool keeps(std::string_view text) const override { return next_changed(text, 0) == text.size(); }
  std::string apply(std::string_view text) const override {
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
  bool composes() const { return options_ == UTF8PROC_COMPOSE; }

  /// The first character from `at` on that the form may change, or the text's end.
  size_t next_changed(std::string_view text, size_t at) const {
    const char *p = text.data() + at, *end = text.data() + text.size();
    while (p < end) {
      const char* q = p;
      const uint32_t scalar = next_scalar(q);
      if (scalar >= 0x80 && !(composes() && is_stable(scalar))) break;
      p = q;
    }
    return static_cast<size_t>(p - text.data());
  }

  /// Whether NFC keeps the character whatever stands before it; false for some that it keeps.
  static bool is_stable(uint32_t c) {
    const auto in = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
    return c < 0x300 || in(0x400, 0x482) || in(0x48A, 0x52F) || in(0x2010, 0x2027) ||
           in(0x2030, 0x205F) || in(0x2500, 0x27FF) || in(0x3001, 0x3029) || in(0x3041, 0x3096) ||
           in(0x309B, 0x30FF) || in(0x3400, 0x4DBF) || in(0x4E00, 0x9FFF) || in(0xAC00, 0xD7A3) ||
           in(0xFF00, 0xFFEF) || in(0x1F300, 0x1FAFF);
  }

  int options_;
};

class LowercaseStep final : public NormalStep {
 public:
  std::string apply(std::string_view text) const override {
    return map_scalars(text, [](uint32_t scalar, std::string& out) {
      if (scalar == 0x130) {
        out += "i\u0307";
        return;
      }
      append_scalar(out, small_letter(scalar));
    });
  }
};

class StripStep final : public NormalStep {
 public:
  StripStep(bool left, bool right) : left_(left), right_(right) {}
  std::string apply(std::string_view text) const override {
    size_t begin = text.size(), behind = 0;  // of what is no white space
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const auto at = static_cast<size_t>(p - text.data());
      if ((classes_of(next_scalar(p)) & kSpace) != 0) continue;
      begin = std::min(begin, at);
      behind = static_cast<size_t>(p - text.data());
    }
    if (begin == text.size() && behind == 0) return left_ || right_ ? "" : std::string(text);
    if (!left_) begin = 0;
    if (!right_) behind = text.size();
    return std::string(text.substr(begin, behind - begin));
  }

 private:
  bool left_, right_;
};

/// Leaves out characters of some classes.
class WithoutStep final : public NormalStep {
 public:
  explicit WithoutStep(uint8_t classes) : classes_(classes) {}
  std::string apply(std::string_view text) const override {
    return map_scalars(text, [this](uint32_t scalar, std::string& out) {
      if ((classes_of(scalar) & classes_) == 0) append_scalar(out, scalar);
    });
  }

 private:
  uint8_t classes_;
};

class ReplaceStep final : public NormalStep {
 public:
  ReplaceStep(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string_view text) const override {
    return pattern_.replace(text, content_);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class PrependStep final : public NormalStep {
 public:
  explicit PrependStep(std::string content) : content_(std::move(content)) {}
  std::string apply(std::string_view text) const override {
    return text.empty() ? "" : cat(content_, text);
  }

 private:
  std::string content_;
};

class ByteLevelStep final : public NormalStep {
 public:
  std::string apply(std::string_view text) const override { return to_byte_characters(text); }
};

/// SentencePiece's "nmt" rules: control characters leave, odd spaces become spaces.
class NmtStep final : public NormalStep {
 public:
  std::string apply(std::string_view text) const override {
    return map_scalars(text, [](uint32_t c, std::string& out) {
      const auto in = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
      if (in(1, 8) || c == 0xB || in(0xE, 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F) return;
      const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                         in(0x200B, 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                         c == 0xFEFF || c == 0xFFFD;
      append_scalar(out, space ? ' ' : c);
    });
  }
};

/// BERT's: control characters leave, any white space is a space.
class CleanStep final : public NormalStep {
 public:
  std::string apply(std::string_view text) const override {
    return map_scalars(text, [](uint32_t c, std::string& out) {
      const uint8_t classes = classes_of(c);
      if ((classes & kSpace) != 0 && (c == 9 || c == 10 || c == 13 || (classes & kOther) == 0))
        out += ' ';
      else if (c != 0 && c != 0xFFFD && (classes & kOther) == 0)
        append_scalar(out, c);
    });
  }
};

/// BERT's: spaces around every Chinese character.
class ChineseStep final : public NormalStep {
 public:
  std::string apply(std::string_view text) const override {
    return map_scalars(text, [](uint32_t c, std::string& out) {
      const auto in = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
      const bool chinese = in(0x4E00, 0x9FFF) || in(0x3400, 0x4DBF) || in(0x20000, 0x2A6DF) ||
                           in(0x2A700, 0x2B73F) || in(0x2B740, 0x2B81F) || in(0x2B920, 0x2CEAF) ||
                           in(0xF900, 0xFAFF) || in(0x2F800, 0x2FA1F);
      if (chinese) out += ' ';
      append_scalar(out, c);
      if (chinese) out += ' ';
    });
  }
};

}  // namespace

Normalizer::Normalizer(const Value& value) {
  if (!value.is_null()) add(value);
}

std::string_view Normalizer::apply(std::string_view text, std::string& room) const {
  for (const auto& step : steps_) {
    if (step->keeps(text)) continue;
    room = step->apply(text);  // may read `room` through `text`
    text = room;
  }
  return text;
}

void Normalizer::add(const Value& value) {
  const std::string& type = value.type();
  const auto add_step = [&](auto step) {
    steps_.push_back(std::make_unique<decltype(step)>(std::move(step)));
  };
  if (type == "Sequence") {
    for (const Value& step : value.list("normalizers")) add(step);
  } else if (type == "NFC") {
    add_step(FormStep(UTF8PROC_COMPOSE));
  } else if (type == "NFD") {
    add_step(FormStep(UTF8PROC_DECOMPOSE));
  } else if (type == "NFKC") {
    add_step(FormStep(UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
  } else if (type == "NFKD") {
    add_step(FormStep(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT));
  } else if (type == "Lowercase") {
    add_step(LowercaseStep());
  } else if (type == "Strip") {
    add_step(StripStep(value.flag("strip_left", true), value.flag("strip_right", true)));
  } else if (type == "StripAccents") {
    add_step(WithoutStep(kMark));
  } else if (type == "Replace") {
    add_step(ReplaceStep(Pattern(value["pattern"]), value.text("content")));
  } else if (type == "Prepend") {
    add_step(PrependStep(value.text("prepend")));
  } else if (type == "Nmt") {
    add_step(NmtStep());
  } else if (type == "ByteLevel") {
    add_step(ByteLevelStep());
  } else if (type == "Precompiled") {
    steps_.push_back(make_precompiled(value));
  } else if (type == "BertNormalizer") {
    const bool lowercase = value.flag("lowercase", true);
    if (value.flag("clean_text", true)) add_step(CleanStep());
    if (value.flag("handle_chinese_chars", true)) add_step(ChineseStep());
    if (value.flag("strip_accents", lowercase)) {
      add_step(FormStep(UTF8PROC_DECOMPOSE));
      add_step(WithoutStep(kNonspacing));
    }
    if (lowercase) add_step(LowercaseStep());
  } else {
    value.throw_unknown("normalizer",
                        "BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, "
                        "Precompiled, Prepend, Replace, Sequence, Strip, StripAccents");
  }
}

}  // namespace levanter::text::hf
