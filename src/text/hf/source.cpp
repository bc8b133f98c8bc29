// Where a tokenizer comes from: a folder, one of its files, or what a checkpoint kept.
#include "text/hf/source.h"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "base/files.h"
#include "base/strings.h"
#include "text/chat_template.h"
#include "text/hf/json.h"

namespace levanter::text::hf {
namespace {

constexpr std::string_view kHead = R"({"type":"hf")";
constexpr std::string_view kBody = R"(,"tokenizer":)";

/// The path of a file of this name in a folder, perhaps with .gz behind it; "" when there is none.
std::string find_file(const std::string& folder, std::string_view name) {
  for (const char* end : {"", ".gz"})
    if (const std::string path = join_path(folder, cat(name, end)); path_exists(path)) return path;
  return "";
}

std::string without_gz(std::string_view name) {
  if (name.ends_with(".gz")) name.remove_suffix(3);
  return std::string(name);
}

/// The other JSON files of a tokenizer's folder; null where there is none.
struct Companions {
  Value config, special_tokens, generation, model;

  explicit Companions(const std::string& folder)
      : config(read(folder, "tokenizer_config.json")),
        special_tokens(read(folder, "special_tokens_map.json")),
        generation(read(folder, "generation_config.json")),
        model(read(folder, "config.json")) {}

  static Value read(const std::string& folder, std::string_view name) {
    const std::string path = find_file(folder, name);
    return path.empty() ? Value() : parse_json(read_content(path), path);
  }
};

/// A special token by the name that the configs give it: a text, or an object with "content".
std::optional<std::string> token_name(const Value& token) {
  if (token.kind == Value::Kind::kString) return token.string;
  if (token.kind == Value::Kind::kObject) return token.text("content");
  return std::nullopt;
}

std::optional<int32_t> token_id(const Value& id) {
  if (id.kind != Value::Kind::kNumber || !(id.number >= 0 && id.number < 2147483648.0))
    return std::nullopt;
  return static_cast<int32_t>(id.number);
}

bool has_key(const Value& object, std::string_view key) {
  return std::find(object.keys.begin(), object.keys.end(), key) != object.keys.end();
}

void find_end_token(const Companions& files, const std::string& key,
                    std::optional<std::string>& name, std::optional<int32_t>& id) {
  for (const Value* file : {&files.config, &files.special_tokens}) {
    if (!has_key(*file, key)) continue;
    name = token_name((*file)[key]);
    return;
  }
  const Value* found = &files.generation[key + "_id"];
  if (found->kind == Value::Kind::kList && !found->items.empty()) found = &found->items[0];
  id = token_id(*found);
}

/// An id or a list of them, as generation_config.json names those that end a text.
std::vector<int32_t> token_ids(const Value& one_or_more) {
  std::vector<int32_t> ids;
  if (const auto only = token_id(one_or_more)) ids.push_back(*only);
  for (const Value& item : one_or_more.items)
    if (const auto id = token_id(item)) ids.push_back(*id);
  return ids;
}

/// The ids that end a text: generation_config.json's, else those of the model's config.json.
std::vector<int32_t> end_ids_of(const Companions& files) {
  for (const Value* file : {&files.generation, &files.model})
    if (std::vector<int32_t> ids = token_ids((*file)["eos_token_id"]); !ids.empty()) return ids;
  return {};  // the tokenizer's own
}

std::string flag_json(const Value& token, std::string_view key) {
  return cat(",\"", key, "\":", token.flag(key, false));
}

/// The tokens of tokenizer_config.json, and for vocab.json those that its keys name.
std::string added_json(const Companions& files, bool named_ones) {
  std::string list;
  const auto add = [&](std::string_view token) { list += cat(list.empty() ? "" : ",", token); };
  const Value& by_id = files.config["added_tokens_decoder"];
  for (size_t i = 0; i < by_id.keys.size(); ++i) {
    const Value& token = by_id.items[i];
    add(cat("{\"id\":", by_id.keys[i], ",\"content\":", quote(token.text("content")),
            flag_json(token, "single_word"), flag_json(token, "lstrip"), flag_json(token, "rstrip"),
            flag_json(token, "normalized"), flag_json(token, "special"), "}"));
  }
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"})
    for (const Value* file : {&files.config, &files.special_tokens})
      if (const auto name = token_name((*file)[key]); named_ones && name)
        add(cat("{\"content\":", quote(*name), ",\"special\":true,\"normalized\":true}"));
  return cat("[", list, "]");
}

/// A tokenizer.json of GPT-2's form around a vocabulary and its merges.
std::string byte_level_json(const std::string& vocab, const std::string& merges,
                            const Companions& files) {
  std::string list;
  for (const std::string& line : split(merges, '\n')) {
    const std::string_view merge = trim(line);
    if (merge.empty() || merge.starts_with("#version")) continue;
    list += cat(list.empty() ? "" : ",", quote(merge));
  }
  const bool space = files.config.flag("add_prefix_space", false);
  return cat(R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":)", space,
             R"(},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":)", vocab,
             R"(,"merges":[)", list, "]}}");
}

/// The chat template of a folder: a file of its own, as newer ones have it, or in the config.
std::string chat_template_of(const std::string& folder) {
  if (const std::string path = find_file(folder, "chat_template.jinja"); !path.empty())
    return read_content(path);
  const std::string config = find_file(folder, "tokenizer_config.json");
  if (config.empty()) return "";
  return find_chat_template(read_content(config), config).value_or("");
}

[[noreturn]] void throw_nothing(const std::string& path) {
  throw Error(ErrorKind::kData,
              path_exists(path) ? "the folder holds no tokenizer" : "there is no such tokenizer")
      .at(path)
      .allowed(
          "tokenizer.json, vocab.json with merges.txt, or a SentencePiece *.model, or a folder "
          "with them");
}

std::string find_sentencepiece(const std::string& folder) {
  for (const std::string& name : list_directory(folder))
    if (without_gz(name).ends_with(".model")) return join_path(folder, name);
  return "";
}

}  // namespace

std::string read_content(const std::string& path) {
  std::string content = read_file(path);
  if (!content.starts_with("\x1F\x8B")) return content;
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  content.clear();
  int taken = file ? 0 : -1;
  do {
    const size_t before = content.size();
    content.resize(before + (size_t{1} << 20));
    if (file) taken = gzread(file.get(), content.data() + before, 1u << 20);
    content.resize(before + static_cast<size_t>(std::max(taken, 0)));
  } while (taken > 0);
  if (taken < 0)
    throw Error(ErrorKind::kData, "the gzip file is damaged")
        .at(path)
        .hint("fetch or compress it again; gzip -t tests a file");
  return content;
}

Source read_source(const std::string& path) {
  if (!path_exists(path)) throw_nothing(path);
  const bool whole = is_directory(path);
  const std::string folder = whole ? path : parent_path(path);
  const std::string name = whole ? "" : without_gz(file_name(path));
  const bool pair = name == "vocab.json" || name == "merges.txt";
  const std::string model = whole                      ? find_sentencepiece(folder)
                            : name.ends_with(".model") ? path
                                                       : "";
  const std::string json = whole                    ? find_file(folder, "tokenizer.json")
                           : pair || !model.empty() ? ""
                                                    : path;
  const Companions files(folder);
  Source source;
  const std::string vocab = find_file(folder, "vocab.json");
  const std::string merges = find_file(folder, "merges.txt");
  if (!json.empty()) {
    source.origin = json;
    source.json = read_content(json);
  } else if (!vocab.empty() && !merges.empty() && (whole || pair)) {
    source.origin = vocab;
    source.json = byte_level_json(read_content(vocab), read_content(merges), files);
  } else if (!model.empty()) {
    source.origin = model;
    source.json = sentencepiece_json(read_content(model), model);
  } else {
    throw_nothing(path);
  }
  source.more_added = added_json(files, json.empty() && model.empty());
  find_end_token(files, "bos_token", source.bos, source.bos_id);
  find_end_token(files, "eos_token", source.eos, source.eos_id);
  source.end_ids = end_ids_of(files);
  source.chat_template = chat_template_of(folder);
  const bool named = source.bos || source.eos || source.bos_id || source.eos_id;
  if (source.origin == model && !named) source.bos = "<s>", source.eos = "</s>";
  return source;
}

std::string write_source(const Source& source) {
  std::string out(kHead);
  if (source.bos_id) out += cat(",\"bos_id\":", *source.bos_id);
  if (source.eos_id) out += cat(",\"eos_id\":", *source.eos_id);
  std::string ends;
  for (const int32_t id : source.end_ids) ends += cat(ends.empty() ? "" : ",", id);
  if (!ends.empty()) out += cat(",\"end_ids\":[", ends, "]");
  if (!source.chat_template.empty()) out += cat(",\"chat_template\":", quote(source.chat_template));
  return cat(out, ",\"added\":", source.more_added, kBody, trim(source.json), "}");
}

std::optional<Source> parse_source(std::string_view text) {
  const size_t body = text.find(kBody);
  if (!text.starts_with(kHead) || body == text.npos || !text.ends_with('}')) return std::nullopt;
  // Strings hold no bare quote, so the first place that looks like the field is the field.
  Source source;
  source.origin = "the saved tokenizer";
  const Value head = parse_json(cat(text.substr(0, body), "}"), source.origin);
  source.chat_template = head.text_or("chat_template", "");
  const std::string_view added = text.substr(0, body);
  constexpr std::string_view kAdded = R"(,"added":)";
  const size_t list = added.find(kAdded);
  if (list != added.npos) source.more_added = added.substr(list + kAdded.size());
  for (const auto& [key, id] : {std::pair{"bos_id", &source.bos_id}, {"eos_id", &source.eos_id}})
    if (!head[key].is_null()) *id = static_cast<int32_t>(head.integer(key, 0));
  source.end_ids = token_ids(head["end_ids"]);
  text.remove_prefix(body + kBody.size());
  text.remove_suffix(1);
  source.json = text;
  return source;
}

}  // namespace levanter::text::hf
