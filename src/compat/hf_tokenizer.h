// The tokenizer of a model as Hugging Face keeps it: its files, and the ids that configs name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/hf_config.h"
#include "text/tokenizer.h"

namespace levanter::compat {

/// What config.json and generation_config.json name.
struct HfTokenIds {
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;                 ///< a text ends after any of them
  std::vector<std::string> stop_strings{};  ///< or before any of these
};

/// What a folder says: ids in its config.json, stop texts in its generation_config.json.
HfTokenIds read_token_ids(const std::string& folder);

/// Takes for ends those of the stop texts that are a token of the tokenizer, special or added: an
/// id ends a text in every program, while Transformers heeds stop texts only where it is also
/// handed the tokenizer.
void end_at_tokens(HfTokenIds& ids, const text::Tokenizer& tokenizer);

/// Writes the ids as keys of either file.
void write_token_ids(HfConfig& hf, HfTokenIds ids);

/// Whether a Hugging Face folder may have a file of that name.
bool is_hf_file(std::string_view name);

/// Copies a folder's tokenizer, chat template and generation_config.json as they are.
/// returns whether there is a tokenizer
bool copy_tokenizer(const std::string& from, const std::string& to);

/// Writes the files of a tokenizer: tokenizer.json, tokenizer_config.json, chat_template.jinja and
/// additional_chat_templates; adds its sampling defaults to generation_config.json.
/// returns false, and writes nothing, for kinds that Hugging Face does not have
bool save_tokenizer(const std::string& folder, const text::Tokenizer& tokenizer);

}  // namespace levanter::compat
