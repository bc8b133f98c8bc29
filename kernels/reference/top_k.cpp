// The indices of the largest values along an axis, chosen one after the other.
#include <limits>

#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class TopKKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const View &x_view = inputs[0].view, &y_view = outputs[0].view;
    const auto axis = static_cast<size_t>(x_view.axes.find(attributes.axis));
    const int64_t size = x_view.axes[axis].size, stride = x_view.strides[axis];
    const Axis choice = attributes.axes[0];
    const int64_t step = y_view.strides[static_cast<size_t>(y_view.axes.find(choice.name))];
    with_type(inputs[0].dtype, [&](auto zero) {
      const auto* x = static_cast<const decltype(zero)*>(in[0]);
      auto* y = static_cast<int32_t*>(out[0]);
      Walk(without(x_view.axes, attributes.axis), {&x_view, &y_view}).each([&](const auto& at) {
        // The next one in falling order of values, in rising order of indices among equals.
        double last = std::numeric_limits<double>::infinity();
        int64_t last_index = -1;
        for (int64_t k = 0; k < choice.size; ++k) {
          int64_t best = -1;
          double value = 0;
          for (int64_t i = 0; i < size; ++i) {
            const double v = order_of(static_cast<double>(x[at[0] + i * stride]));
            const bool taken = v > last || (v == last && i <= last_index);
            if (taken || (best >= 0 && v <= value)) continue;
            best = i;
            value = v;
          }
          y[at[1] + k * step] = static_cast<int32_t>(best);
          last = value;
          last_index = best;
        }
      });
    });
  }

 private:
  static double order_of(double v) { return v == v ? v : -std::numeric_limits<double>::infinity(); }
};

}  // namespace

extern const KernelEntry top_k_entry;
const KernelEntry top_k_entry = {&ops::top_k_entry, make<TopKKernel>};

}  // namespace levanter::reference
