// Kernels of single nodes by way of a region.
#pragma once

#include <memory>

#include "kernels/cpu/kernel.h"

namespace levanter::cpu {

/// Whether the first operand is f32 or bf16 and not empty, and it or a result is bf16.
bool is_bf16(const KernelRequest& request);

/// A kernel for a request's one node that takes and gives f32 and bf16, in any layout of the
/// operands, with the bits that the node has in a fused region.
std::unique_ptr<Kernel> make_region(Context& context, const KernelRequest& request);

/// K, or a region where there is bf16.
template <class K>
std::unique_ptr<Kernel> make_either(Context& context, const KernelRequest& request) {
  return is_bf16(request) ? make_region(context, request) : make<K>(context, request);
}

}  // namespace levanter::cpu
