// Elementwise arithmetic, one element at a time.
#include <type_traits>

#include "kernels/reference/walk.h"
#include "ops/attributes.h"
#include "ops/elementwise/value.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class MapKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    with_type(outputs[0].dtype, [&](auto zero) {
      using T = decltype(zero);
      using Wide = std::conditional_t<std::is_same_v<T, Bf16>, float, T>;
      const size_t n = inputs.size();
      std::array<const View*, Walk::kMaxOperands> views{};
      for (size_t i = 0; i < n; ++i) views[i] = &inputs[i].view;
      views[n] = &outputs[0].view;
      const Map opcode = MapAttributes::of(attributes).opcode;
      Walk(outputs[0].view.axes, std::span(views.data(), n + 1)).each([&](const auto& at) {
        const Wide a = static_cast<const T*>(in[0])[at[0]];
        const Wide b = n > 1 ? Wide{static_cast<const T*>(in[1])[at[1]]} : Wide{0};
        const Wide c = n > 2 ? Wide{static_cast<const T*>(in[2])[at[2]]} : Wide{0};
        static_cast<T*>(out[0])[at[n]] = map_value<Wide>(opcode, a, b, c);
      });
    });
  }
  bool in_place(size_t, size_t input) const override {
    return inputs[input].dtype == outputs[0].dtype &&
           inputs[input].view.axes == outputs[0].view.axes;
  }
};

}  // namespace

extern const KernelEntry map_entry;
const KernelEntry map_entry = {&ops::map_entry, make<MapKernel>};

}  // namespace levanter::reference
