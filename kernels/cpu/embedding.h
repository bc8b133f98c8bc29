// The gradient of an embedding table: rows of gradients added up by token id, in a fixed order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/threads.h"

namespace levanter::cpu {

/// dweight[v, :] = sum, in order of position, of dy[i, :] over the positions i with ids[i] = v. An
/// id outside [0, vocab) adds to no row.
struct EmbeddingGradient {
  int64_t positions = 0, vocab = 0, width = 0;

  /// Scratch, a multiple of 64: the positions sorted by id, and where each id begins.
  size_t scratch_bytes() const;

  /// Every row of dweight [vocab, width] is written. dy's rows are dy_row elements apart.
  void run(ThreadPool& pool, const int32_t* ids, const float* dy, int64_t dy_row, float* dweight,
           void* scratch) const;
};

}  // namespace levanter::cpu
