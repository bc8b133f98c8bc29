// The configuration of a tokenizer of kind "hf".
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer_config.h"

namespace levanter::text::hf {

struct HfTokenizerConfig final : TokenizerConfig {
  config::Path path;
  std::vector<std::string> add_tokens;

  void fields(config::Fields& f) override {
    f("path", path,
      "a folder with tokenizer.json (or vocab.json and merges.txt, or a SentencePiece *.model), or "
      "one of these files")
        .required();
    f("add_tokens", add_tokens,
      "special tokens that it gets if it lacks them, with the next free ids; a model's rows for "
      "them begin as the mean of all others");
  }
};

}  // namespace levanter::text::hf
