// Random small functions for property tests, and the plainest way to run a function.
#pragma once

#include <vector>

#include "support/evaluate.h"

namespace levanter::testing {

struct RandomFunction {
  Function function;
  std::vector<Array> inputs;
};

/// About thirty nodes of all kinds drawn by `seed`: elementwise, products, reductions, views of
/// views, concatenations, gathers, composites, repeated nodes, multiplications by one. Results are
/// values of all kinds: views, arguments, the same value twice; some replace arguments.
RandomFunction random_function(uint32_t seed, DType real);

/// A model's arithmetic and its gradient over [rows..., embed] of a size that `seed` draws: sizes
/// of one, primes, tails of tiles. Elementwise ops, casts, dropout, layer norms, biases and parts
/// of concatenations, f32 and bf16 mixed.
RandomFunction random_rows(uint32_t seed);

/// Runs every node on its own, in memory of its own, and keeps every value. Kernels see their
/// operands through the same views as in the whole function.
std::vector<Array> run_eagerly(const Function& function, const std::vector<Array>& inputs,
                               const Backend& backend);

}  // namespace levanter::testing
