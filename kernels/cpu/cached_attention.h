// Attention of queries with positions of their own to the keys of a cache.
#pragma once

#include <memory>

#include "kernels/cpu/kernel.h"

namespace levanter::cpu {

/// The kernel of an `attention` node with positions and without a gradient. A row of the result has
/// bits that depend on its query, its position and the keys that it sees alone: not on the other
/// rows nor on the threads.
std::unique_ptr<Kernel> make_cached_attention(Context& context, const KernelRequest& request);

}  // namespace levanter::cpu
