// Where a tokenizer comes from: a folder, one of its files, or what a checkpoint kept.
#include "text/hf/source.h"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "base/file_kind.h"
#include "base/files.h"
#include "base/strings.h"
#include "json/patch.h"
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
  Value config, special_tokens, generation, model, added;

  explicit Companions(const std::string& folder)
      : config(read(folder, "tokenizer_config.json")),
        special_tokens(read(folder, "special_tokens_map.json")),
        generation(read(folder, "generation_config.json")),
        model(read(folder, "config.json")),
        added(read(folder, "added_tokens.json")) {}

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

/// The members of these names, as JSON.
std::map<std::string, std::string> values_of(const Value& object,
                                             std::initializer_list<const char*> names) {
  std::map<std::string, std::string> values;
  for (const char* name : names) {
    const Value& value = object[name];
    if (value.kind == Value::Kind::kBool) values[name] = value.boolean ? "true" : "false";
    if (value.kind == Value::Kind::kNumber) values[name] = cat(value.number);
    if (value.kind == Value::Kind::kString) values[name] = quote(value.string);
  }
  return values;
}

/// The ids that end a text: generation_config.json's, else those of the model's config.json.
std::vector<int32_t> end_ids_of(const Companions& files) {
  for (const Value* file : {&files.generation, &files.model}) {
    const Value& said = (*file)["eos_token_id"];
    std::vector<Value> all = said.items;
    all.push_back(said);
    for (const Value& id : all)
      if (id.kind == Value::Kind::kString)
        file->throw_wrong("eos_token_id", "an id, or a list of ids");
    if (std::vector<int32_t> ids = token_ids(said); !ids.empty()) return ids;
  }
  return {};  // the tokenizer's own
}

/// A special token that a folder names: "pad_token", or "" for one without a key.
struct NamedToken {
  std::string key, name;
  const Value* token;
};

/// Whether special_tokens_map.json and added_tokens.json count: folders of old, which do not list
/// their added tokens with ids in tokenizer_config.json.
bool is_legacy(const Companions& files) { return !has_key(files.config, "added_tokens_decoder"); }

/// The special tokens that the folder names, in the order in which Transformers adds them.
std::vector<NamedToken> special_tokens_of(const Companions& files) {
  std::vector<NamedToken> tokens;
  std::vector<std::string> keys = {"bos_token", "eos_token", "unk_token", "sep_token",
                                   "pad_token", "cls_token", "mask_token"};
  const bool legacy = is_legacy(files);
  for (const std::string& key : files.config.keys)
    if (key.ends_with("_token") && std::find(keys.begin(), keys.end(), key) == keys.end())
      keys.push_back(key);
  for (const std::string& key : keys)
    for (const Value* file : {&files.special_tokens, &files.config}) {
      const auto name = token_name((*file)[key]);
      if (!name || (file == &files.special_tokens && !legacy)) continue;
      tokens.push_back({key, *name, &(*file)[key]});
      break;
    }
  for (const Value* file : {&files.config, &files.special_tokens})
    for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
      const Value& more = (*file)[key];
      if (more.items.empty() || (file == &files.special_tokens && !legacy)) continue;
      for (size_t i = 0; i < more.items.size(); ++i)
        if (const auto name = token_name(more.items[i]))
          tokens.push_back({more.keys.empty() ? "" : more.keys[i], *name, &more.items[i]});
      return tokens;
    }
  return tokens;
}

std::string token_json(const NamedToken& named, bool normalized, bool special) {
  std::string flags;
  for (const char* key : {"single_word", "lstrip", "rstrip"})
    flags += cat(",\"", key, "\":", named.token->flag(key, false));
  return cat("{\"content\":", quote(named.name), flags,
             ",\"normalized\":", named.token->flag("normalized", normalized),
             ",\"special\":", special, "}");
}

/// The tokens of tokenizer_config.json, else those of added_tokens.json, in the order of their ids.
/// As in Transformers the ids say no more: a token that is new gets the next free one.
std::map<int32_t, std::string> added_by_id(const Companions& files,
                                           const std::vector<NamedToken>& special) {
  std::map<int32_t, std::string> by_id;
  const bool legacy = is_legacy(files);
  const Value& list = legacy ? files.added : files.config["added_tokens_decoder"];
  for (size_t i = 0; i < list.keys.size(); ++i) {
    const Value& token = list.items[i];
    const std::string& name = legacy ? list.keys[i] : token.text("content");
    const auto id = token_id(legacy ? token : parse_json(list.keys[i], list.place));
    if (!id) list.throw_wrong(list.keys[i], "a token's id");
    const bool is_special = token.flag("special", false) ||
                            std::any_of(special.begin(), special.end(),
                                        [&](const NamedToken& one) { return one.name == name; });
    by_id[*id] = token_json({"", name, &token}, legacy && !is_special, is_special);
  }
  return by_id;
}

/// Tells what chat templates see, and which tokens may have to get an id.
void take_tokens(const Companions& files, Source& source) {
  const std::vector<NamedToken> special = special_tokens_of(files);
  std::string added, named;
  for (const auto& [id, token] : added_by_id(files, special))
    added += cat(added.empty() ? "" : ",", token);
  for (const NamedToken& token : special) {
    if (!token.key.empty()) source.special_tokens[token.key] = token.name;
    named += cat(named.empty() ? "" : ",", token_json(token, false, true));
  }
  source.more_added = cat("[", added, "]");
  source.named_special = cat("[", named, "]");
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

/// What "add_prefix_space" makes of tokenizer.json in those classes of Transformers that heed it: a
/// patch, "" for none.
std::string prefix_space_patch(const Companions& files, bool byte_level) {
  const Value& said = files.config["add_prefix_space"];
  const std::string name = files.config.text_or("tokenizer_class", "");
  const std::string type = files.model.text_or("model_type", "");
  const bool own_class = type == "olmo2" || type == "olmo3" || type == "qwen2";  // whatever is said
  if (said.kind != Value::Kind::kBool || own_class) return "";
  if (name.starts_with("GPT2Tokenizer") && byte_level)
    return cat(R"({"pre_tokenizer":{"add_prefix_space":)", said.boolean, "}}");
  if (!name.starts_with("LlamaTokenizer") || byte_level || said.boolean) return "";
  return R"({"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁",
    "add_prefix_space":null,"prepend_scheme":"never","split":false},"decoder":{"type":"Sequence","decoders":[{"type":
    "Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]}})";
}

/// The chat templates of a folder: files of their own, as newer ones have them, or in the config.
void take_chat_templates(const std::string& folder, Source& source) {
  std::map<std::string, std::string> templates;
  if (const std::string path = find_file(folder, "chat_template.jinja"); !path.empty())
    templates["default"] = read_content(path);
  const std::string more = join_path(folder, "additional_chat_templates");
  if (is_directory(more))
    for (const std::string& name : list_directory(more))
      if (name.ends_with(".jinja"))
        templates[file_stem(name)] = read_content(join_path(more, name));
  const std::string config = find_file(folder, "tokenizer_config.json");
  if (templates.empty() && !config.empty())
    templates = find_chat_templates(read_content(config), config);
  source.chat_template = templates["default"];
  templates.erase("default");
  source.named_templates = std::move(templates);
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

void name_special_tokens(const std::vector<std::string>& tokens, Source& source) {
  std::string& list = source.named_special;
  for (const std::string& token : tokens) {
    list.pop_back();
    list += cat(list == "[" ? "" : ",", "{\"content\":", quote(token),
                ",\"normalized\":false,\"special\":true}]");
  }
}

std::string read_content(const std::string& path) {
  std::string content = read_file(path);
  if (!content.empty()) refuse_stand_in(ErrorKind::kData, content, path);
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
  std::string model, json;
  if (whole) {
    model = find_sentencepiece(folder);
    json = find_file(folder, "tokenizer.json");
  } else if (!pair) {
    (name.ends_with(".model") ? model : json) = path;
  }
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
  if (files.config.flag("split_special_tokens", false))
    throw Error(ErrorKind::kData, "split_special_tokens = true is not supported")
        .at(join_path(folder, "tokenizer_config.json"))
        .allowed("false: a special token that stands in a text is one token");
  const bool byte_level = source.json.find("\"ByteLevel\"") != std::string::npos;
  if (const std::string patch = prefix_space_patch(files, byte_level); !patch.empty())
    source.json = patch_json(source.json, patch);
  take_tokens(files, source);
  find_end_token(files, "bos_token", source.bos, source.bos_id);
  find_end_token(files, "eos_token", source.eos, source.eos_id);
  source.end_ids = end_ids_of(files);
  source.sides = values_of(files.config, {"padding_side", "truncation_side"});
  source.sampling = values_of(files.generation, {"do_sample", "temperature", "top_k", "top_p",
                                                 "min_p", "typical_p", "repetition_penalty"});
  take_chat_templates(folder, source);
  const bool named = source.bos || source.eos || source.bos_id || source.eos_id;
  if (source.origin == model && !named) {
    source.bos = "<s>";
    source.eos = "</s>";
  }
  return source;
}

namespace {

std::string map_json(const std::map<std::string, std::string>& map) {
  std::string out;
  for (const auto& [key, value] : map)
    out += cat(out.empty() ? "" : ",", quote(key), ":", quote(value));
  return cat("{", out, "}");
}

std::map<std::string, std::string> texts_of(const Value& object) {
  std::map<std::string, std::string> texts;
  for (const std::string& key : object.keys) texts[key] = object.text(key);
  return texts;
}

}  // namespace

std::string write_source(const Source& source) {
  std::string out(kHead);
  if (source.bos_id) out += cat(",\"bos_id\":", *source.bos_id);
  if (source.eos_id) out += cat(",\"eos_id\":", *source.eos_id);
  std::string ends;
  for (const int32_t id : source.end_ids) ends += cat(ends.empty() ? "" : ",", id);
  if (!ends.empty()) out += cat(",\"end_ids\":[", ends, "]");
  if (!source.chat_template.empty()) out += cat(",\"chat_template\":", quote(source.chat_template));
  if (!source.named_templates.empty())
    out += cat(",\"named_templates\":", map_json(source.named_templates));
  if (!source.special_tokens.empty())
    out += cat(",\"special_tokens\":", map_json(source.special_tokens));
  if (!source.sides.empty()) out += cat(",\"sides\":", map_json(source.sides));
  if (!source.sampling.empty()) out += cat(",\"sampling\":", map_json(source.sampling));
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
  source.named_templates = texts_of(head["named_templates"]);
  source.special_tokens = texts_of(head["special_tokens"]);
  source.sides = texts_of(head["sides"]);
  source.sampling = texts_of(head["sampling"]);
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
