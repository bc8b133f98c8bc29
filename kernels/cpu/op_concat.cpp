// Parts copied one after the other.
// Plain twin: kernels/reference/concat.cpp.
#include "kernels/cpu/copy.h"
#include "kernels/cpu/kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

class ConcatKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const View& whole = outputs[0].view;
    const auto axis = static_cast<size_t>(whole.axes.find(attributes.axis));
    auto* y = static_cast<std::byte*>(out[0]);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const View piece{inputs[i].view.axes, whole.strides, 0};
      copy_strided(context.pool, outputs[0].dtype, in[i], inputs[i].view, y, piece);
      y += piece.axes[axis].size * whole.strides[axis] * size_of(outputs[0].dtype);
    }
  }
};

std::unique_ptr<Kernel> make_concat(Context& context, const KernelRequest& request) {
  return request.outputs[0].dtype == DType::f64 ? nullptr : make<ConcatKernel>(context, request);
}

}  // namespace

extern const CpuKernelEntry concat_entry;
const CpuKernelEntry concat_entry = {{.op = &ops::concat_entry, .make = make_concat, .bf16 = true}};

}  // namespace levanter::cpu
