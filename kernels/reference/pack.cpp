// Parameters rounded to bf16.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class PackKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<Bf16*>(out[0]);
    Walk(outputs[0].view.axes, {&inputs[0].view, &outputs[0].view}).each([&](const auto& at) {
      y[at[1]] = x[at[0]];
    });
  }
};

}  // namespace

extern const KernelEntry pack_entry;
const KernelEntry pack_entry = {&ops::pack_entry, make<PackKernel>};

}  // namespace levanter::reference
