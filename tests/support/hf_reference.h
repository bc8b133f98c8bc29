// Small models with made-up weights beside the numbers that Transformers gives for them.
//
// tests/golden/hf_models.jsonl holds a line for each: its config.json, the loss of two rows of made
// ids in f64, the logits behind the last id of each, and the norm of each gradient. It is written
// by scripts/reference/check_hf_models.py, which makes the same weights by the same formula.
#pragma once

#include <string>

namespace levanter::testing {

/// Compares all cases of a family, CHECKing loss, logits and gradients, that its config.json is the
/// same when it has been read and written, and that no batch changes a bit of a loss.
void check_hf_reference(const std::string& family);

}  // namespace levanter::testing
