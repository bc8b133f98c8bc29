// Between f32 and bf16: casts, and parameters packed for products.
// Plain twins: kernels/reference/cast.cpp and pack.cpp.
#include "kernels/cpu/region_kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

std::unique_ptr<Kernel> make_cast(Context& context, const KernelRequest& request) {
  const DType to = request.outputs[0].dtype;
  if (!is_bf16(request) || !(to == DType::f32 || to == DType::bf16)) return nullptr;
  return make_region(context, request);
}

}  // namespace

extern const CpuKernelEntry cast_entry;
const CpuKernelEntry cast_entry = {{.op = &ops::cast_entry, .make = make_cast, .bf16 = true},
                                   {.op = &ops::pack_entry, .make = make_cast, .bf16 = true}};

}  // namespace levanter::cpu
