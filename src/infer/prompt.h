// What a model is given to continue.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace levanter::infer {

/// The tokens of a prompt with those that stand around every text, at least one: where there is
/// none, what a text begins with, which is BOS, else what is before it, EOS, else 0. `name`: the
/// prompt's, for errors.
std::vector<int32_t> prompt_ids(const text::Tokenizer& tokenizer, const std::string& prompt,
                                const std::string& name);

}  // namespace levanter::infer
