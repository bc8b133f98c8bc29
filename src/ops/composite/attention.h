// How the attention ops pack their attributes and operands, for rules and kernels alike.
#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"

namespace levanter {

/// The attributes of `attention`, `attention_grad` and `attention_statistics`, by name.
struct AttentionAttributes {
  double scale = 1, dropout_rate = 0, soft_cap = 0;
  bool causal = true, has_segments = false, has_keys = false, has_positions = false;
  int64_t window = 0;

  Attributes pack() const {
    return {.code = has_positions,
            .ints = {causal, has_segments, has_keys, window},
            .reals = {scale, dropout_rate, soft_cap}};
  }
  static AttentionAttributes of(const Attributes& a) {
    return {.scale = a.reals[0],
            .dropout_rate = a.reals[1],
            .soft_cap = a.reals[2],
            .causal = a.ints[0] != 0,
            .has_segments = a.ints[1] != 0,
            .has_keys = a.ints[2] != 0,
            .has_positions = a.code != 0,
            .window = a.ints[3]};
  }
  /// The number of operands that all of them begin with: q k v [segment_ids] [dropout_keys], or
  /// q k v positions.
  size_t operands() const { return 3 + has_segments + has_keys + has_positions; }
};

/// Outputs of `attention`: o (axes of q), lse [batch..., heads..., position].
/// Operands of `attention_grad`: those of attention, then o, lse, do. Outputs: dq, dk, dv.
/// Operands of `attention_statistics`: q k k [segment_ids]. Outputs: entropy, largest, as lse.

/// lse's axes: q's without head_dim, position last.
Axes attention_lse_axes(const Axes& q);

}  // namespace levanter
