// Neighbouring axes as one: a copy, seen over the axes before they merge.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class MergeKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const View separate = View::row_major(inputs[0].view.axes);  // the same bytes as the result
    with_type(outputs[0].dtype, [&](auto zero) {
      const auto* x = static_cast<const decltype(zero)*>(in[0]);
      auto* y = static_cast<decltype(zero)*>(out[0]);
      Walk(separate.axes, {&inputs[0].view, &separate}).each([&](const auto& at) {
        y[at[1]] = x[at[0]];
      });
    });
  }
};

}  // namespace

extern const KernelEntry merge_axes_entry;
const KernelEntry merge_axes_entry = {&ops::merge_axes_entry, make<MergeKernel>};

}  // namespace levanter::reference
