// The tokenizer of a model as Hugging Face keeps it.
#include "compat/hf_tokenizer.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "text/hf/source.h"

namespace levanter::compat {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::string_view kFiles[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "vocab.txt",
                                       "merges.txt",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "generation_config.json"};
constexpr int kMaxDepth = 64;

Json parse(std::string_view text) {
  return json_depth(text) > kMaxDepth ? Json() : Json::parse(text, nullptr, false);
}

void write_json(const std::string& folder, const char* name, const Json& json) {
  write_file_atomic(join_path(folder, name), json.dump(2) + "\n");
}

/// The text of a token, as an added one or in the vocabulary; null where there is none.
Json token_of(const Json& tokenizer, const Json& more_added, std::optional<int32_t> id) {
  if (!id) return nullptr;
  for (const Json* added : {&tokenizer["added_tokens"], &more_added})
    for (const Json& token : *added)
      if (token.value("id", -1) == *id) return token["content"];
  const Json& vocabulary = tokenizer["model"]["vocab"];
  if (vocabulary.is_array() && static_cast<size_t>(*id) < vocabulary.size())
    return vocabulary[static_cast<size_t>(*id)][0];
  if (vocabulary.is_object())
    for (const auto& [token, its_id] : vocabulary.items())
      if (its_id == *id) return token;
  return nullptr;
}

}  // namespace

HfTokenIds read_token_ids(const std::string& folder) {
  const Json config = parse(read_file(join_path(folder, "config.json")));
  const auto ids = [&](const char* key) {
    std::vector<int64_t> found;
    const Json said = config.is_object() ? config.value(key, Json()) : Json();
    for (const Json& id : said.is_array() ? said : Json::array({said}))
      if (id.is_number_integer()) found.push_back(id);
    return found;
  };
  const auto first = [&](const char* key) {
    const std::vector<int64_t> found = ids(key);
    return found.empty() ? std::nullopt : std::optional(found[0]);
  };
  return {first("bos_token_id"), first("pad_token_id"), ids("eos_token_id")};
}

void save_generation_config(const std::string& folder, const HfTokenIds& ids) {
  Json json = Json::object();
  if (ids.bos) json["bos_token_id"] = *ids.bos;
  if (ids.eos.size() == 1) json["eos_token_id"] = ids.eos[0];
  if (ids.eos.size() > 1) json["eos_token_id"] = ids.eos;
  if (ids.pad) json["pad_token_id"] = *ids.pad;
  if (!json.empty()) write_json(folder, "generation_config.json", json);
}

bool copy_tokenizer(const std::string& from, const std::string& to) {
  bool found = false;
  for (const std::string& name : list_directory(from)) {
    const std::string path = join_path(from, name);
    const bool is_model = name.ends_with(".model");
    const bool wanted =
        is_model || std::find(std::begin(kFiles), std::end(kFiles), name) != std::end(kFiles);
    if (!wanted || !path_exists(path) || is_directory(path)) continue;
    write_file_atomic(join_path(to, name), read_file(path));
    found |= is_model || name == "tokenizer.json" || name == "vocab.json" || name == "vocab.txt";
  }
  return found;
}

bool save_tokenizer(const std::string& folder, std::string_view serialised) {
  const auto source = text::hf::parse_source(serialised);
  if (!source) return false;
  write_file_atomic(join_path(folder, "tokenizer.json"), source->json);
  Json tokenizer = parse(source->json), more_added = parse(source->more_added);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false}};
  config["bos_token"] = token_of(tokenizer, more_added, source->bos_id);
  config["eos_token"] = token_of(tokenizer, more_added, source->eos_id);
  for (const Json& token : more_added) {
    if (!token.contains("id")) continue;
    Json& added = config["added_tokens_decoder"][token["id"].dump()];
    added = token;
    added.erase("id");
  }
  write_json(folder, "tokenizer_config.json", config);
  if (!source->chat_template.empty())
    write_file_atomic(join_path(folder, "chat_template.jinja"), source->chat_template);
  return true;
}

}  // namespace levanter::compat
