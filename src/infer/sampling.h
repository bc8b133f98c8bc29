// From logits to the next token: greedy, or drawn with temperature, top-k and top-p.
#pragma once

#include <cstdint>
#include <span>

#include "base/random.h"

namespace levanter::infer {

struct SamplingOptions {
  double temperature = 1;  ///< 0: the most probable token; higher: more surprising ones
  int64_t top_k = 0;       ///< only the k most probable tokens; 0: all
  double top_p = 1;        ///< only the most probable tokens that together reach this probability
};

/// The token drawn from softmax(logits / temperature) restricted to top_k, then to top_p. Ties are
/// broken by the lower id. The draw is the uniform number `index` of `key`'s stream.
/// A logit of -inf is never drawn. Error kGuard when one is NaN or +inf.
int32_t sample(std::span<const float> logits, const SamplingOptions& options, Key key,
               uint64_t index);

}  // namespace levanter::infer
