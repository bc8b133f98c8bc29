// Finding a kind of tokenizer by name, and loading one that a checkpoint holds.
#include "text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "json/mend.h"
#include "base/strings.h"
#include "text/hf/source.h"
#include "text/utf8.h"

namespace levanter::text {

const TokenizerEntry& find_tokenizer(std::string_view name) {
  std::vector<std::string> names;
  for (const TokenizerEntry* entry : entries()) {
    if (entry->name == name) return *entry;
    names.emplace_back(entry->name);
  }
  throw Error(ErrorKind::kConfig, cat("there is no tokenizer ", quote(name)))
      .allowed(join(names, ", "));
}

std::unique_ptr<const Tokenizer> load_tokenizer(std::string_view serialised,
                                                std::string_view origin) {
  constexpr std::string_view kBegin = "{\"type\":\"";
  for (const TokenizerEntry* entry : entries()) {
    // A text that names its kind first need not be read by the others; it may be long.
    if (serialised.starts_with(kBegin) &&
        !serialised.substr(kBegin.size()).starts_with(cat(entry->name, "\"")))
      continue;
    if (std::unique_ptr<const Tokenizer> tokenizer = entry->load(serialised)) return tokenizer;
  }
  throw Error(ErrorKind::kCheckpoint, "the saved tokenizer is damaged or of an unknown kind")
      .at(std::string(origin))
      .hint("take it from another checkpoint of the same run; the file is the same in all of them");
}

std::unique_ptr<const Tokenizer> open_tokenizer(const std::string& name_or_path) {
  if (name_or_path == "bytes") return find_tokenizer("bytes").make({}, {});
  for (const TokenizerEntry* entry : entries())
    if (entry->name == name_or_path && !path_exists(name_or_path))
      throw Error(ErrorKind::kConfig,
                  cat("the tokenizer ", quote(name_or_path), " has no vocabulary of its own"))
          .allowed("bytes, or the path of a tokenizer")
          .hint("a checkpoint keeps its tokenizer as tokenizer.json");
  if (path_exists(name_or_path) && !is_directory(name_or_path))
    if (const std::string content = read_file(name_or_path); content.starts_with("{\"type\":\""))
      return load_tokenizer(content, name_or_path);
  return hf::open(name_or_path);
}

// For tokenizers whose tokens do not depend on their neighbours: the parts, one by one.
MarkedIds Tokenizer::encode_marked(NamedText text, std::span<const ByteSpan> spans) const {
  MarkedIds out;
  const auto add = [&](size_t begin, size_t end, bool marked) {
    const std::vector<int32_t> ids = encode({text.content.substr(begin, end - begin), text.origin});
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.marked.resize(out.ids.size(), marked);
  };
  size_t done = 0;
  for (const ByteSpan& span : spans) {
    add(done, span.begin, false);
    add(span.begin, span.end, true);
    done = span.end;
  }
  add(done, text.content.size(), false);
  return out;
}

std::map<std::string, std::string> Tokenizer::special_tokens() const {
  std::map<std::string, std::string> tokens;
  if (const auto bos = bos_id()) tokens["bos_token"] = decode(std::span(&*bos, 1));
  if (const auto eos = eos_id()) tokens["eos_token"] = decode(std::span(&*eos, 1));
  return tokens;
}

std::optional<std::string> json_string(std::string_view json, std::string_view key) {
  const nlohmann::json object = parse_as_python(json);
  if (!object.is_object()) return std::nullopt;
  const auto value = object.find(key);
  if (value == object.end() || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

void throw_not_utf8(NamedText text, size_t offset) {
  constexpr char kDigits[] = "0123456789abcdef";
  const auto byte = static_cast<uint8_t>(text.content[offset]);
  throw Error(ErrorKind::kData,
              cat("the text is not UTF-8: byte 0x", kDigits[byte >> 4], kDigits[byte & 15]))
      .at(place_in_text(text.content, text.origin, offset))
      .hint(
          "convert it (iconv -f LATIN1 -t UTF-8), or use the tokenizer \"bytes\", which takes any "
          "text");
}

void throw_unknown_id(int32_t id, int64_t vocab_size) {
  throw Error(ErrorKind::kData, cat("token id ", id, " is not in the vocabulary"))
      .allowed(cat("0 to ", vocab_size - 1));
}

}  // namespace levanter::text

namespace levanter {

std::span<const config::ChoiceEntry> TokenizerConfig::choices() {
  static const auto kChoices = config::choices_of(text::entries());
  return kChoices;
}

std::string TokenizerConfig::name_hint(std::string_view name) {
  const bool path = name.find('/') != std::string_view::npos || name.ends_with(".json") ||
                    name.ends_with(".model") || path_exists(std::string(name));
  if (path)
    return cat("write { type = \"hf\", path = ", quote(name),
               " }, a folder with tokenizer.json, or the file; nothing is fetched");
  for (const std::string_view other : {"gpt2", "llama", "mistral", "qwen", "gemma", "olmo"})
    if (name.starts_with(other))
      return "write { type = \"hf\", path = \"DIR\" }, a folder with tokenizer.json; nothing is "
             "fetched";
  return "";
}

}  // namespace levanter
