// Tokenizers of kind "hf" for tests.
#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace levanter::text {

/// The tokenizer of a folder or a file.
inline std::unique_ptr<const Tokenizer> hf_tokenizer(const std::string& path) {
  const TokenizerEntry& entry = find_tokenizer("hf");
  const std::unique_ptr<config::Choosable> config = entry.make_config();
  config::Fields fields;
  config->fields(fields);
  static_cast<config::Path*>(fields.list()[0].value)->text = path;
  return entry.make(static_cast<const TokenizerConfig&>(*config), {});
}

/// The tokenizer of the text of a tokenizer.json.
inline std::unique_ptr<const Tokenizer> tokenizer_of(const std::string& json) {
  return load_tokenizer(R"({"type":"hf","added":[],"tokenizer":)" + json + "}", "tokenizer.json");
}

}  // namespace levanter::text
