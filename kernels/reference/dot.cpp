// A product summed over shared axes, element by element; sums are kept in f64. bf16
// gives f32.
#include <type_traits>

#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class DotKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const View &a_view = inputs[0].view, &b_view = inputs[1].view, &c_view = outputs[0].view;
    const Axes summed = without(intersect(a_view.axes, b_view.axes), c_view.axes);
    Walk outer(c_view.axes, {&a_view, &b_view, &c_view});
    Walk inner(summed, {&a_view, &b_view});
    with_type(inputs[0].dtype, [&](auto zero) {
      using T = decltype(zero);
      using Out = std::conditional_t<std::is_same_v<T, Bf16>, float, T>;
      const auto *a = static_cast<const T*>(in[0]), *b = static_cast<const T*>(in[1]);
      auto* c = static_cast<Out*>(out[0]);
      outer.each([&](const auto& at) {
        double total = 0;
        inner.each([&](const auto& k) {
          total += static_cast<double>(a[at[0] + k[0]]) * static_cast<double>(b[at[1] + k[1]]);
        });
        c[at[2]] = static_cast<Out>(total);
      });
    });
  }
};

}  // namespace

extern const KernelEntry dot_entry;
const KernelEntry dot_entry = {&ops::dot_entry, make<DotKernel>};

}  // namespace levanter::reference
