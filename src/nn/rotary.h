// Rotary position embeddings (Su et al. 2021, arXiv:2104.09864), halves rotated as Transformers
// does.
#pragma once

#include <vector>

#include "ops/ops.h"

namespace levanter::nn {

/// What rotary types differ in.
struct RotaryFrequencies {
  std::vector<double> inverse;  ///< radians a position, of each pair that rotates
  double scale = 1;             ///< of cosine and sine: YaRN's attention factor
};

/// Cosines and sines of all positions of a batch, made once and used by every block.
///   angle[..., i] = position * inverse[i], in f32
struct Rotary {
  /// positions  i32 [batch, position]
  Rotary(NamedArray positions, const RotaryFrequencies& frequencies);
  /// Rotates the n pairs (x[i], x[i + n]) of [..., head_dim], the head's first 2 n numbers; in f32,
  /// rounded once.
  NamedArray operator()(NamedArray x) const;

  NamedArray cos, sin;  ///< f32 [batch, position, n]
};

}  // namespace levanter::nn
