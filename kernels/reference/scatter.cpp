// Elements replaced at an index, in the order of their position. A row of the updates' last axis
// goes at once: the other backends use this too.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class ScatterKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  bool in_place(size_t, size_t input) const override { return input == 0; }
  void run(const void* const* in, void* const* out, void*) const override {
    const View &x_view = inputs[0].view, &from_view = inputs[1].view, &y_view = outputs[0].view;
    const auto axis = static_cast<size_t>(y_view.axes.find(attributes.axis));
    const int64_t size = y_view.axes[axis].size, stride = y_view.strides[axis];
    const auto* index = static_cast<const int32_t*>(in[2]);
    Axes rows = from_view.axes;
    int64_t width = 1, from_step = 0, to_step = 0;
    const size_t last = rows.size() - 1;
    if (!rows.empty() && !inputs[2].view.axes.contains(rows[last].name)) {
      width = rows[last].size;
      from_step = from_view.strides[last];
      to_step = y_view.strides[static_cast<size_t>(y_view.axes.find(rows[last].name))];
      rows = without(rows, rows[last].name);
    }
    with_type(outputs[0].dtype, [&](auto zero) {
      const auto* x = static_cast<const decltype(zero)*>(in[0]);
      const auto* from = static_cast<const decltype(zero)*>(in[1]);
      auto* y = static_cast<decltype(zero)*>(out[0]);
      if (in[0] != out[0])
        Walk(y_view.axes, {&x_view, &y_view}).each([&](const auto& at) { y[at[1]] = x[at[0]]; });
      Walk(rows, {&from_view, &inputs[2].view, &y_view}).each([&](const auto& at) {
        const int64_t i = index[at[1]];
        if (i < 0 || i >= size) return;
        for (int64_t j = 0; j < width; ++j)
          y[at[2] + i * stride + j * to_step] = from[at[0] + j * from_step];
      });
    });
  }
};

}  // namespace

extern const KernelEntry scatter_entry;
const KernelEntry scatter_entry = {&ops::scatter_entry, make<ScatterKernel>};

}  // namespace levanter::reference
