// Updates added into zeros, in the order of their position.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class ScatterKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const View& y_view = outputs[0].view;
    const auto axis = static_cast<size_t>(y_view.axes.find(attributes.axis));
    const int64_t size = y_view.axes[axis].size, stride = y_view.strides[axis];
    const auto* index = static_cast<const int32_t*>(in[1]);
    with_type(outputs[0].dtype, [&](auto zero) {
      const auto* x = static_cast<const decltype(zero)*>(in[0]);
      auto* y = static_cast<decltype(zero)*>(out[0]);
      Walk(y_view.axes, {&y_view}).each([&](const auto& at) { y[at[0]] = decltype(zero){0}; });
      Walk(inputs[0].view.axes, {&inputs[0].view, &inputs[1].view, &y_view})
          .each([&](const auto& at) {
            const int64_t i = index[at[1]];
            if (i < 0 || i >= size) return;
            auto& sum = y[at[2] + i * stride];
            sum = static_cast<decltype(zero)>(sum + x[at[0]]);
          });
    });
  }
};

}  // namespace

extern const KernelEntry scatter_add_entry;
const KernelEntry scatter_add_entry = {&ops::scatter_add_entry, make<ScatterKernel>};

}  // namespace levanter::reference
