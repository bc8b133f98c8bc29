// What a model is given to continue.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace levanter::infer {

/// What a text begins with: BOS, else EOS, which ends the text before, else a new line, which is
/// all that tokenizers of characters and of bytes have.
///   name   the prompt's, for errors
/// error  kData where the tokenizer has none of them
std::vector<int32_t> beginning_ids(const text::Tokenizer& tokenizer, const std::string& name);

/// The tokens of a prompt with those that stand around every text; where there is none,
/// beginning_ids.
std::vector<int32_t> prompt_ids(const text::Tokenizer& tokenizer, const std::string& prompt,
                                const std::string& name);

}  // namespace levanter::infer
