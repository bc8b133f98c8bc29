// Makes text of tokens.
#include "text/hf/decoder.h"

#include <algorithm>
#include <charconv>

#include "base/strings.h"
#include "text/hf/component.h"
#include "text/hf/pattern.h"
#include "text/hf/tokenizer_file.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
}

using Tokens = std::vector<std::string>;
using Steps = DecodeSteps;

void join_bytes(Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) append_token_bytes(token, bytes);
  tokens.assign(1, replace_invalid_utf8(std::move(bytes)));
}

/// Joins the bytes of tokens such as "<0x0A>" that follow one another.
void fall_back(Tokens& tokens) {
  Tokens out;
  std::string bytes;
  const auto flush = [&] {
    if (first_invalid_utf8(bytes) == bytes.size()) {
      if (!bytes.empty()) out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), "\uFFFD");
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

/// Adds a step that changes tokens one by one: change(token, is_first, is_last).
template <class Change>
void add_each(Steps& steps, Change change) {
  steps.list.push_back([change = std::move(change)](Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) change(tokens[i], i == 0, i + 1 == tokens.size());
  });
}

void add_byte_level(Steps& steps, const Value&) {
  steps.byte_level = true;
  steps.list.push_back(join_bytes);
}

void add_byte_fallback(Steps& steps, const Value&) {
  steps.byte_fallback = true;
  steps.list.push_back(fall_back);
}

void add_fuse(Steps& steps, const Value&) {
  steps.list.push_back([](Tokens& tokens) { tokens.assign(1, join(tokens, "")); });
}

void add_replace(Steps& steps, const Value& value) {
  add_each(steps, [pattern = Pattern(value["pattern"]), content = value.text("content")](
                      std::string& token, bool, bool) { token = pattern.replace(token, content); });
}

/// Strips one text from both ends of every token, up to a number of times each.
void add_strip(Steps& steps, const Value& value) {
  add_each(steps, [content = value.text("content"), start = value.integer("start", 0),
                   stop = value.integer("stop", 0)](std::string& token, bool, bool) {
    std::string_view rest = token;
    for (int64_t i = 0; i < start && rest.starts_with(content); ++i)
      rest.remove_prefix(content.size());
    for (int64_t i = 0; i < stop && rest.ends_with(content); ++i)
      rest.remove_suffix(content.size());
    token = std::string(rest);
  });
}

void add_metaspace(Steps& steps, const Value& value) {
  const std::string scheme =
      value.text_or("prepend_scheme", value.flag("add_prefix_space", true) ? "always" : "never");
  add_each(steps, [mark = value.text_or("replacement", "\u2581"), prepends = scheme != "never"](
                      std::string& token, bool first, bool) {
    replace_all(token, mark, first && prepends ? "" : " ");
  });
}

/// Undoes what splitting English text into words has put between them.
void clean_up(std::string& token) {
  static constexpr std::string_view kChanges[][2] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kChanges) replace_all(token, from, to);
}

void add_word_piece(Steps& steps, const Value& value) {
  add_each(steps, [prefix = value.text_or("prefix", "##"), cleanup = value.flag("cleanup", true)](
                      std::string& token, bool first, bool) {
    if (!first) token = token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
    if (cleanup) clean_up(token);
  });
}

void add_suffix(Steps& steps, const Value& value) {
  add_each(steps, [suffix = value.text_or("suffix", "</w>")](std::string& token, bool, bool last) {
    replace_all(token, suffix, last ? "" : " ");
  });
}

/// Connectionist temporal classification: repeats and blanks leave, a word's end is a space.
void add_ctc(Steps& steps, const Value& value) {
  steps.list.push_back([blank = value.text_or("pad_token", "<pad>"),
                        space = value.text_or("word_delimiter_token", "|"),
                        cleanup = value.flag("cleanup", true)](Tokens& tokens) {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      replace_all(token, blank, "");
      if (cleanup) replace_all(token, space, " ");
    }
    std::erase(tokens, "");
  });
}

constexpr ComponentKind<Steps> kKinds[] = {
    {"ByteLevel", add_byte_level},
    {"ByteFallback", add_byte_fallback},
    {"Replace", add_replace},
    {"Fuse", add_fuse},
    {"Strip", add_strip},
    {"Metaspace", add_metaspace},
    {"WordPiece", add_word_piece},
    {"BPEDecoder", add_suffix},
    {"CTC", add_ctc},
};

}  // namespace

int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
  uint8_t byte = 0;
  const char* const end = token.data() + 5;
  return std::from_chars(token.data() + 3, end, byte, 16).ptr == end ? byte : -1;
}

void append_token_bytes(std::string_view token, std::string& out) {
  if (!append_bytes(token, out)) out += token;
}

std::string replace_invalid_utf8(std::string bytes) {
  if (first_invalid_utf8(bytes) == bytes.size()) return bytes;
  std::string out;
  append_mended_utf8(out, bytes);
  return out;
}

Decoder::Decoder(const Value& value) : joins_by_space_(value.is_null()) {
  if (!value.is_null()) add_component(steps_, value, kKinds, "decoder", "decoders");
}

std::string Decoder::decode(std::vector<std::string> tokens) const {
  if (joins_by_space_) return join(tokens, " ");
  if (tokens.empty()) return "";
  for (const auto& step : steps_.list) step(tokens);
  return join(tokens, "");
}

bool Decoder::is_loose_byte(std::string_view token) const {
  return steps_.byte_fallback && fallback_byte(token) >= 0;
}

int64_t Decoder::byte_length(std::string_view token) const {
  if (is_loose_byte(token)) return 1;
  if (steps_.byte_level) {
    std::string bytes;
    append_token_bytes(token, bytes);
    return static_cast<int64_t>(bytes.size());
  }
  // Between two letters, what is added to them.
  return static_cast<int64_t>(decode({"x", std::string(token), "x"}).size()) -
         static_cast<int64_t>(decode({"x", "x"}).size());
}

}  // namespace levanter::text::hf
