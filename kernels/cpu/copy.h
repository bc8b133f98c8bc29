// Copies between layouts, for kernels that need an operand in another order.
#pragma once

#include "base/threads.h"
#include "graph/op.h"

namespace levanter::cpu {

/// to[index] = from[index] for every index over the axes of `to_view`, which are those of
/// `from_view` in any order. Elements of 4 bytes or, as bf16 has, 2.
void copy_strided(ThreadPool& pool, DType dtype, const void* from, const View& from_view, void* to,
                  const View& to_view);

}  // namespace levanter::cpu
