// Values copied from one layout to another.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class CopyKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    with_type(outputs[0].dtype, [&](auto zero) {
      const auto* x = static_cast<const decltype(zero)*>(in[0]);
      auto* y = static_cast<decltype(zero)*>(out[0]);
      Walk(outputs[0].view.axes, {&inputs[0].view, &outputs[0].view}).each([&](const auto& at) {
        y[at[1]] = x[at[0]];
      });
    });
  }
};

}  // namespace

extern const KernelEntry copy_entry;
const KernelEntry copy_entry = {&ops::copy_entry, make<CopyKernel>};

}  // namespace levanter::reference
