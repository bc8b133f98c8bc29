// The probability that a model gives to whole documents, of any length.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "infer/inference.h"

namespace levanter::infer {

struct Document {
  std::vector<int32_t> ids;
  /// Of each of the ids but the first, the natural logarithm of its probability after those before
  /// it in its window.
  std::vector<float> logprobs = {};
};

/// Rolling log-likelihood: every token but a document's first is scored exactly once. The first
/// window scores max_seq_len tokens, each further one `stride` more (or what is left), which see
/// the tokens before them in the max_seq_len that end with the window: all of them with at least
/// max_seq_len - stride + 1 of context. A document's bits depend on no other document.
/// rows    that `model` computes at a time
/// stride  1 to max_seq_len; max_seq_len reads every token once
void score(InferenceModel& model, std::span<Document> documents, int64_t rows, int64_t stride);

}  // namespace levanter::infer
