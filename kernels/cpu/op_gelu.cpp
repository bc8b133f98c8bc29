// GELU and its gradient on vector spans.
// Plain twin: src/ops/composite/gelu.cpp.
#include "kernels/cpu/region_kernel.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

class GeluKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto op =
        GeluAttributes::of(attributes).kind == Gelu::kTanh ? UnaryOp::kGeluTanh : UnaryOp::kGeluErf;
    const auto apply = context.vector.unary[static_cast<size_t>(op)];
    for_spans(context.pool, outputs[0].view.axes.elements(), [&](int64_t begin, int64_t end) {
      apply(floats(out[0]) + begin, floats(in[0]) + begin, end - begin);
    });
  }
  bool in_place(size_t, size_t) const override { return true; }
};

/// x, dy -> dx
class GeluGradKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto op = GeluAttributes::of(attributes).kind == Gelu::kTanh ? BinaryOp::kGeluTanhGrad
                                                                       : BinaryOp::kGeluErfGrad;
    const auto apply = context.vector.binary[static_cast<size_t>(op)];
    for_spans(context.pool, outputs[0].view.axes.elements(), [&](int64_t begin, int64_t end) {
      apply(floats(out[0]) + begin, floats(in[1]) + begin, 1, floats(in[0]) + begin, 1,
            end - begin);
    });
  }
  bool in_place(size_t, size_t) const override { return true; }
};

}  // namespace

extern const CpuKernelEntry gelu_entry;
const CpuKernelEntry gelu_entry = {
    {.op = &ops::gelu_entry, .make = make_either<GeluKernel>, .packs_inputs = true, .bf16 = true},
    {.op = &ops::gelu_grad_entry,
     .make = make_either<GeluGradKernel>,
     .packs_inputs = true,
     .bf16 = true}};

}  // namespace levanter::cpu
