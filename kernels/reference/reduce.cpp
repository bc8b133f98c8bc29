// Sum, largest or smallest, element by element; sums are kept in f64.
// A sum of bf16 is f32.
#include "kernels/reference/walk.h"
#include "ops/attributes.h"
#include "ops/entries.h"

#include <type_traits>

namespace levanter::reference {

namespace {

template <class T>
T combine(Reduce kind, T a, T b) {
  if (kind == Reduce::kSum) return a + b;
  if (a != a) return a;  // NaN where an element is
  if (kind == Reduce::kMax) return b < a ? a : b;
  return a < b ? a : b;
}

class ReduceKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto [kind, over] = ReduceAttributes::of(attributes);
    Walk outer(outputs[0].view.axes, {&inputs[0].view, &outputs[0].view});
    Walk inner(over, {&inputs[0].view});
    with_type(inputs[0].dtype, [&](auto zero) {
      using T = decltype(zero);
      using Wide = std::conditional_t<std::is_integral_v<T>, T, double>;
      using Out = std::conditional_t<std::is_same_v<T, Bf16>, float, T>;
      const auto* x = static_cast<const T*>(in[0]);
      auto* y = static_cast<Out*>(out[0]);
      outer.each([&](const auto& at) {
        Wide total{0};
        bool first = true;
        inner.each([&](const auto& k) {
          const Wide value = x[at[0] + k[0]];
          total = first ? value : combine(kind, total, value);
          first = false;
        });
        y[at[1]] = static_cast<Out>(total);
      });
    });
  }
};

}  // namespace

extern const KernelEntry reduce_entry;
const KernelEntry reduce_entry = {&ops::reduce_entry, make<ReduceKernel>};

}  // namespace levanter::reference
