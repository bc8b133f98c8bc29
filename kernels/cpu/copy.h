// Copies between layouts, for kernels that need an operand in another order.
#pragma once

#include "base/bf16.h"
#include "base/threads.h"
#include "graph/op.h"

namespace levanter::cpu {

/// to[index] = from[index] for every index over the axes of `to_view`, which are those of
/// `from_view` in any order. Any 4-byte elements; or 2-byte ones.
void copy_strided(ThreadPool& pool, const float* from, const View& from_view, float* to,
                  const View& to_view);
void copy_strided(ThreadPool& pool, const Bf16* from, const View& from_view, Bf16* to,
                  const View& to_view);
/// The same for elements of `dtype`, which is not f64.
void copy_strided(ThreadPool& pool, DType dtype, const void* from, const View& from_view, void* to,
                  const View& to_view);

}  // namespace levanter::cpu
