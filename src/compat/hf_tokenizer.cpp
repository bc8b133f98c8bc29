// The tokenizer of a model as Hugging Face keeps it.
#include "compat/hf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "json/mend.h"
#include "base/strings.h"
#include "compat/hf_generation.h"
#include "text/hf/source.h"
#include "text/hf/tokenizer_file.h"

namespace levanter::compat {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::string_view kFiles =
    " tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json "
    "vocab.txt merges.txt chat_template.jinja chat_template.json generation_config.json ";
constexpr char kTemplates[] = "additional_chat_templates";  // a folder
bool is_listed(std::string_view name) { return kFiles.find(cat(" ", name, " ")) != kFiles.npos; }

constexpr int kMaxDepth = 64;

Json parse(std::string_view text) {
  return json_depth(text) > kMaxDepth ? Json() : parse_in_order_as_python(text);
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
  return {first("bos_token_id"), first("pad_token_id"), ids("eos_token_id"),
          read_stop_strings(folder)};
}

void end_at_tokens(HfTokenIds& ids, const text::Tokenizer& tokenizer) {
  const auto source = text::hf::parse_source(tokenizer.serialise());
  if (!source || ids.stop_strings.empty()) return;
  const text::hf::TokenizerFile file = text::hf::read_tokenizer_file(source->json, source->origin);
  std::vector<text::hf::AddedToken> tokens =
      text::hf::read_added_tokens(text::hf::parse_json(source->more_added, source->origin),
                                  file.vocabulary, file.vocabulary.size());
  tokens.insert(tokens.begin(), file.added.begin(), file.added.end());
  std::erase_if(ids.stop_strings, [&](const std::string& stop) {
    const auto token = std::find_if(tokens.begin(), tokens.end(),
                                    [&](const auto& added) { return added.content == stop; });
    if (token == tokens.end()) return false;
    if (std::find(ids.eos.begin(), ids.eos.end(), token->id) == ids.eos.end())
      ids.eos.push_back(token->id);
    return true;
  });
}

void write_token_ids(HfConfig& hf, HfTokenIds ids) {
  std::optional<int64_t> eos;
  if (!ids.eos.empty()) eos = ids.eos[0];
  hf("bos_token_id", ids.bos);
  if (ids.eos.size() > 1)
    hf("eos_token_id", ids.eos);
  else
    hf("eos_token_id", eos);
  hf("pad_token_id", ids.pad);
}

bool is_hf_file(std::string_view name) {
  return name == "config.json" || name == "adapter_config.json" ||
         name == "model.safetensors.index.json" || name.ends_with(".safetensors") ||
         name.ends_with(".model") || name == kTemplates || is_listed(name);
}

bool copy_tokenizer(const std::string& from, const std::string& to) {
  bool found = false;
  for (const std::string& name : list_directory(from)) {
    const std::string path = join_path(from, name);
    const bool is_model = name.ends_with(".model");
    if (!(is_model || is_listed(name)) || !path_exists(path) || is_directory(path)) continue;
    write_file_atomic(join_path(to, name), read_file(path));
    found |= is_model || name == "tokenizer.json" || name == "vocab.json" || name == "vocab.txt";
  }
  const std::string templates = join_path(from, kTemplates);
  if (!is_directory(templates)) return found;
  make_directories(join_path(to, kTemplates));
  for (const std::string& name : list_directory(templates))
    if (name.ends_with(".jinja"))
      write_file_atomic(join_path(join_path(to, kTemplates), name),
                        read_file(join_path(templates, name)));
  return found;
}

bool save_tokenizer(const std::string& folder, const text::Tokenizer& tokenizer) {
  const auto source = text::hf::parse_source(tokenizer.serialise());
  if (!source) return false;
  write_file_atomic(join_path(folder, "tokenizer.json"), source->json);
  const auto text_of = [&](std::optional<int32_t> id) {
    return id ? Json(tokenizer.decode({{*id}})) : Json();
  };
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"bos_token", text_of(tokenizer.bos_id())},
                 {"eos_token", text_of(tokenizer.eos_id())}};
  for (const auto& [key, text] : tokenizer.special_tokens())
    if (!config.contains(key)) config[key] = text;
  for (const auto& [key, value] : source->sides) config[key] = parse(value);
  for (Json token : parse(source->more_added)) {
    const Json id = token["id"];
    token.erase("id");
    if (!id.is_null()) config["added_tokens_decoder"][id.dump()] = token;
  }
  write_file_atomic(join_path(folder, "tokenizer_config.json"), config.dump(2) + "\n");
  if (!source->chat_template.empty())
    write_file_atomic(join_path(folder, "chat_template.jinja"), source->chat_template);
  const std::string templates = join_path(folder, kTemplates);
  if (!source->named_templates.empty()) make_directories(templates);
  for (const auto& [name, text] : source->named_templates)
    if (name.find('/') == name.npos)  // a name of a file, wherever it came from
      write_file_atomic(join_path(templates, name + ".jinja"), text);
  if (source->sampling.empty()) return true;
  const std::string generation_path = join_path(folder, "generation_config.json");
  Json generation = path_exists(generation_path) ? parse(read_file(generation_path)) : Json();
  for (const auto& [key, value] : source->sampling) generation[key] = parse(value);
  write_file_atomic(generation_path, generation.dump(2) + "\n");
  return true;
}

}  // namespace levanter::compat
