// From logits to the next token: greedy, or drawn with the filters that Transformers has.
#pragma once

#include <cstdint>
#include <span>

#include "base/random.h"

namespace levanter::infer {

struct SamplingOptions {
  double temperature = 1;  ///< 0: the most probable token; higher: more surprising ones
  int64_t top_k = 0;       ///< only the k most probable tokens; 0: all
  double top_p = 1;        ///< only the most probable tokens that together reach this probability
  double min_p = 0;        ///< only tokens at least this times as probable as the most probable one
  /// Above 0. The logits of tokens that came before are divided by it, or multiplied where they are
  /// below 0 (Keskar et al. 2019, arXiv:1909.05858); 1: none.
  double repetition_penalty = 1;
};

/// The token drawn from the logits after the repetition penalty for the tokens `before`, the
/// temperature, top_k, top_p and min_p, in this order, each on what the others left. Ties are
/// broken by the lower id. The draw is the uniform number `index` of `key`'s stream. A logit of
/// -inf is never drawn. Error kGuard when one is NaN or +inf.
int32_t sample(std::span<const float> logits, const SamplingOptions& options, Key key,
               uint64_t index, std::span<const int32_t> before = {});

/// The natural logarithm of softmax(logits)[id].
float log_probability(std::span<const float> logits, int32_t id);

}  // namespace levanter::infer
