// The tokenizer of a model as Hugging Face keeps it: its files, and the ids that configs name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace levanter::compat {

/// The special ids that config.json and generation_config.json name.
struct HfTokenIds {
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;  ///< a text ends after any of them
};

/// What a folder's config.json says.
HfTokenIds read_token_ids(const std::string& folder);

/// Writes generation_config.json, where there is anything to say.
void save_generation_config(const std::string& folder, const HfTokenIds& ids);

/// Copies a folder's tokenizer, chat template and generation_config.json as they are.
/// returns whether there is a tokenizer
bool copy_tokenizer(const std::string& from, const std::string& to);

/// Writes the files of a tokenizer that text::Tokenizer::serialise gave: tokenizer.json,
/// tokenizer_config.json and chat_template.jinja.
/// returns false, and writes nothing, for kinds that Hugging Face does not have
bool save_tokenizer(const std::string& folder, std::string_view serialised);

}  // namespace levanter::compat
