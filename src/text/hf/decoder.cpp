// Makes text of tokens.
#include "text/hf/decoder.h"

#include <algorithm>

#include "base/strings.h"
#include "text/hf/pattern.h"
#include "text/hf/tokenizer_file.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

std::string join_all(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
}

class ByteLevelStep final : public DecodeStep {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) append_token_bytes(token, bytes);
    tokens.assign(1, replace_invalid_utf8(std::move(bytes)));
  }
};

class ByteFallbackStep final : public DecodeStep {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (first_invalid_utf8(bytes) == bytes.size()) {
        if (!bytes.empty()) out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), std::string(kReplacement));
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const int byte = fallback_byte(token); byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }
};

class ReplaceStep final : public DecodeStep {
 public:
  ReplaceStep(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) token = pattern_.replace(token, content_);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class FuseStep final : public DecodeStep {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    tokens.assign(1, join_all(tokens));
  }
};

/// Takes up to so many of one character off both ends of every token.
class StripStep final : public DecodeStep {
 public:
  StripStep(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && rest.starts_with(content_); ++i)
        rest.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i)
        rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class MetaspaceStep final : public DecodeStep {
 public:
  MetaspaceStep(std::string mark, bool prepends) : mark_(std::move(mark)), prepends_(prepends) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], mark_, i == 0 && prepends_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool prepends_;
};

class WordPieceStep final : public DecodeStep {
 public:
  WordPieceStep(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i != 0) token = token.starts_with(prefix_) ? token.substr(prefix_.size()) : " " + token;
      if (cleanup_) clean(token);
    }
  }

 private:
  static void clean(std::string& token) {
    static constexpr std::string_view kChanges[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (const auto& [from, to] : kChanges) replace_all(token, from, to);
  }

  std::string prefix_;
  bool cleanup_;
};

class SuffixStep final : public DecodeStep {
 public:
  explicit SuffixStep(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

/// Connectionist temporal classification: repeats and blanks leave, a word's end is a space.
class CtcStep final : public DecodeStep {
 public:
  CtcStep(std::string blank, std::string space, bool cleanup)
      : blank_(std::move(blank)), space_(std::move(space)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      replace_all(token, blank_, "");
      if (cleanup_) replace_all(token, space_, " ");
    }
    std::erase(tokens, "");
  }

 private:
  std::string blank_, space_;
  bool cleanup_;
};

}  // namespace

int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
  int byte = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

void append_token_bytes(std::string_view token, std::string& out) {
  const size_t before = out.size();
  for (const char *p = token.data(), *end = p + token.size(); p < end;) {
    const int byte = character_byte(next_scalar(p));
    if (byte < 0) {
      out.resize(before);
      out += token;
      return;
    }
    out += static_cast<char>(byte);
  }
}

std::string replace_invalid_utf8(std::string bytes) {
  size_t at = first_invalid_utf8(bytes);
  if (at == bytes.size()) return bytes;
  std::string out = bytes.substr(0, at);
  while (at < bytes.size()) {
    uint32_t scalar = 0;
    if (const int length = read_scalar(bytes, at, scalar); length > 0) {
      out.append(bytes, at, static_cast<size_t>(length));
      at += static_cast<size_t>(length);
      continue;
    }
    // The longest beginning of a character: one byte, or more while some ending would complete it.
    const auto completes = [&](size_t length) {
      for (const char filler : {'\x80', '\x90', '\xA0', '\xBF'}) {
        std::string trial = bytes.substr(at, length);
        const size_t whole = length_at(trial[0]);
        if (trial.size() >= whole) return false;
        trial.resize(whole, filler);
        if (read_scalar(trial, 0, scalar) > 0) return true;
      }
      return false;
    };
    size_t length = 1;
    while (at + length < bytes.size() && completes(length + 1)) ++length;
    out += kReplacement;
    at += length;
  }
  return out;
}

Decoder::Decoder(const Value& value) {
  if (value.is_null()) return;
  joins_by_space_ = false;
  add(value);
  only_bytes_ = byte_level_ && steps_.size() == 1;
}

std::string Decoder::decode(std::vector<std::string> tokens) const {
  if (joins_by_space_) return join(tokens, " ");
  if (tokens.empty()) return "";
  for (const auto& step : steps_) step->apply(tokens);
  return join_all(tokens);
}

int64_t Decoder::byte_length(std::string_view token) const {
  if (byte_fallback_ && fallback_byte(token) >= 0) return 1;
  if (byte_level_) {
    std::string bytes;
    append_token_bytes(token, bytes);
    return static_cast<int64_t>(bytes.size());
  }
  // Between two letters, what is added to them.
  return static_cast<int64_t>(decode({"x", std::string(token), "x"}).size()) -
         static_cast<int64_t>(decode({"x", "x"}).size());
}

void Decoder::add(const Value& value) {
  const std::string& type = value.type();
  const auto add_step = [&](auto step) {
    steps_.push_back(std::make_unique<decltype(step)>(std::move(step)));
  };
  if (type == "Sequence") {
    for (const Value& step : value.list("decoders")) add(step);
  } else if (type == "ByteLevel") {
    byte_level_ = true;
    add_step(ByteLevelStep());
  } else if (type == "ByteFallback") {
    byte_fallback_ = true;
    add_step(ByteFallbackStep());
  } else if (type == "Replace") {
    add_step(ReplaceStep(Pattern(value["pattern"]), value.text("content")));
  } else if (type == "Fuse") {
    add_step(FuseStep());
  } else if (type == "Strip") {
    add_step(StripStep(value.text("content"), value.integer("start", 0), value.integer("stop", 0)));
  } else if (type == "Metaspace") {
    const std::string scheme =
        value.text_or("prepend_scheme", value.flag("add_prefix_space", true) ? "always" : "never");
    add_step(MetaspaceStep(value.text_or("replacement", "\u2581"), scheme != "never"));
  } else if (type == "WordPiece") {
    add_step(WordPieceStep(value.text_or("prefix", "##"), value.flag("cleanup", true)));
  } else if (type == "BPEDecoder") {
    add_step(SuffixStep(value.text_or("suffix", "</w>")));
  } else if (type == "CTC") {
    add_step(CtcStep(value.text_or("pad_token", "<pad>"),
                     value.text_or("word_delimiter_token", "|"), value.flag("cleanup", true)));
  } else {
    value.throw_unknown("decoder",
                        "BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, "
                        "Sequence, Strip, WordPiece");
  }
}

}  // namespace levanter::text::hf
