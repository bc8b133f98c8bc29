// What every tokenizer must do, called from the test of each kind.
#pragma once

#include <string_view>

#include "text/tokenizer.h"

namespace levanter::text {

/// Checks that decode(encode(text)) is `text`, that ids are in the vocabulary, that byte lengths
/// add up, and that a saved and loaded tokenizer does the same.
void check_round_trip(const Tokenizer& tokenizer, std::string_view text);

}  // namespace levanter::text
