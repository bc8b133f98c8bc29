// Parts copied one after the other.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class ConcatKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const View& whole = outputs[0].view;
    const auto axis = static_cast<size_t>(whole.axes.find(attributes.axis));
    int64_t start = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const View piece{inputs[i].view.axes, whole.strides, 0};
      with_type(outputs[0].dtype, [&](auto zero) {
        const auto* x = static_cast<const decltype(zero)*>(in[i]);
        auto* y = static_cast<decltype(zero)*>(out[0]) + start * whole.strides[axis];
        Walk(piece.axes, {&inputs[i].view, &piece}).each([&](const auto& at) {
          y[at[1]] = x[at[0]];
        });
      });
      start += piece.axes[axis].size;
    }
  }
};

}  // namespace

extern const KernelEntry concat_entry;
const KernelEntry concat_entry = {&ops::concat_entry, make<ConcatKernel>};

}  // namespace levanter::reference
