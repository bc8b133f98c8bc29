// Tokenizers of kind "hf" for tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "support/sha256.h"
#include "text/tokenizer.h"

namespace levanter::text {

/// The tokenizer of a folder or a file.
inline std::unique_ptr<const Tokenizer> hf_tokenizer(const std::string& path) {
  return open_tokenizer(path);
}

/// The tokenizer of the text of a tokenizer.json.
inline std::unique_ptr<const Tokenizer> tokenizer_of(const std::string& json) {
  return load_tokenizer(R"({"type":"hf","added":[],"tokenizer":)" + json + "}", "tokenizer.json");
}

/// SHA-256 of ids as little-endian numbers of 32 bits.
inline std::string digest(const std::vector<int32_t>& ids) {
  return testing::sha256({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

}  // namespace levanter::text
