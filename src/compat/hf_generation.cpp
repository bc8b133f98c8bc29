// What a Hugging Face folder says of how its model generates.
#include "compat/hf_generation.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "compat/hf_config.h"
#include "json/mend.h"

namespace levanter::compat {
namespace {

constexpr char kFile[] = "generation_config.json";

struct Setting {
  std::string_view key, neutral;
};

// Of Transformers 5.24, null aside, which changes nothing either.
constexpr Setting kNotApplied[] = {
    {"bad_words_ids", "[]"},
    {"begin_suppress_tokens", "[]"},
    {"encoder_repetition_penalty", "1"},
    {"exponential_decay_length_penalty", "[]"},
    {"forced_bos_token_id", "null"},
    {"forced_eos_token_id", "null"},
    {"guidance_scale", "1"},
    {"min_length", "0"},
    {"min_new_tokens", "0"},
    {"no_repeat_ngram_size", "0"},
    {"num_beams", "1"},
    {"penalty_alpha", "0"},
    {"repetition_penalty", "1"},
    {"sequence_bias", "[]"},
    {"suppress_tokens", "[]"},
};

/// A value as one may read it in a line.
std::string shortened(const std::string& value) {
  constexpr size_t kMost = 60;
  return value.size() <= kMost ? value : cat(value.substr(0, kMost), "...");
}

}  // namespace

std::vector<std::string> read_stop_strings(const std::string& folder) {
  const std::string path = join_path(folder, kFile);
  if (!path_exists(path)) return {};
  constexpr int kMaxDepth = 64;
  using Json = nlohmann::ordered_json;
  const std::string content = read_file(path);
  const Json config = json_depth(content) > kMaxDepth ? Json() : parse_in_order_as_python(content);
  const Json said = config.is_object() ? config.value("stop_strings", Json()) : Json();
  std::vector<std::string> texts;
  for (const Json& text : said.is_array() ? said : Json::array({said}))
    if (text.is_string() && !text.get<std::string>().empty()) texts.push_back(text);
  return texts;
}

std::string unapplied_settings(const std::string& folder, std::string_view applied) {
  const std::string file = path_exists(join_path(folder, kFile)) ? kFile : "config.json";
  HfConfig config(join_path(folder, file));
  std::string list;
  for (const Setting& setting : kNotApplied) {
    const std::string other = config.other_than(setting.key, setting.neutral);
    if (other.empty() || setting.key == applied) continue;
    list += cat(list.empty() ? "" : ", ", setting.key, " = ", shortened(other));
  }
  return list.empty() ? "" : cat(file, ": not applied here: ", list);
}

}  // namespace levanter::compat
