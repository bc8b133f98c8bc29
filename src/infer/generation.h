// Texts continued token by token, several at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "infer/inference.h"
#include "infer/sampling.h"

namespace levanter::infer {

/// A text and what follows it.
struct Continuation {
  std::vector<int32_t> prompt;  ///< at least one token
  Key key;
  int32_t adapter = -1;  ///< as of InferenceModel::decode_text
  std::vector<int32_t> ids = {};
  /// Of each of the ids, the natural logarithm of its probability under the model alone.
  std::vector<float> logprobs = {};
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_new_tokens = 200;
  std::vector<int32_t> stop_ids;  ///< a text ends before one of these
  int64_t rows = 1;               ///< texts that are continued at the same time
  int64_t vocab_size = 0;         ///< of which ids are drawn, where the model has more; 0: all
  bool logprobs = false;
  /// Called after each token that a text (its index) gained; false ends the text.
  std::function<bool(size_t, const Continuation&)> on_token = {};
};

/// Texts that are written at the same time, and tokens of the longest; no rows for none.
struct TextRoom {
  int64_t rows = 0, longest = 0;
};
/// Bytes that an InferenceModel takes which does nothing but write such texts, parameters and all;
/// takes none itself.
int64_t generation_bytes(const ModelSpec& spec, int64_t vocab_size, const TextRoom& room,
                         const Backend& backend, DType compute);

/// Continues each text. Its i-th token is a function of its prompt, its key and i alone, whatever
/// `rows` up to 16 is. Of a text longer than max_seq_len the last max_seq_len tokens count, all of
/// which are then computed again for each token.
void generate(InferenceModel& model, std::span<Continuation> texts, const GenerateOptions& options);

}  // namespace levanter::infer
