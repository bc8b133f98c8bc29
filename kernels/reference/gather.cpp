// Rows picked by an index, one element at a time.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class GatherKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const View& x_view = inputs[0].view;
    const auto axis = static_cast<size_t>(x_view.axes.find(attributes.axis));
    const int64_t size = x_view.axes[axis].size, stride = x_view.strides[axis];
    const auto* index = static_cast<const int32_t*>(in[1]);
    with_type(outputs[0].dtype, [&](auto zero) {
      const auto* x = static_cast<const decltype(zero)*>(in[0]);
      auto* y = static_cast<decltype(zero)*>(out[0]);
      // The walk lacks the taken axis, so x's offset stays at its first row.
      Walk(outputs[0].view.axes, {&x_view, &inputs[1].view, &outputs[0].view})
          .each([&](const auto& at) {
            const int64_t i = index[at[1]];
            y[at[2]] = i < 0 || i >= size ? decltype(zero){0} : x[at[0] + i * stride];
          });
    });
  }
};

}  // namespace

extern const KernelEntry gather_entry;
const KernelEntry gather_entry = {&ops::gather_entry, make<GatherKernel>};

}  // namespace levanter::reference
