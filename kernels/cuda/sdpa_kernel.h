// The kernel of attention that runs by a plan of cuDNN.
#pragma once

#include <memory>

#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

/// Of an attention node or its gradient; null where attention is to go by kernels of ours: f32,
/// segments, dropout, a soft cap, a cache, heads of other than 64, 128 or 256 elements, arrays that
/// the library cannot read in place, or no plan for it (see Sdpa::find).
std::unique_ptr<Kernel> make_sdpa_kernel(Context& context, const KernelRequest& request);

}  // namespace levanter::cuda
