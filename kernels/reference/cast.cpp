// Values converted to another element type.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class CastKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    with_type(inputs[0].dtype, [&](auto from) {
      with_type(outputs[0].dtype, [&](auto to) {
        const auto* x = static_cast<const decltype(from)*>(in[0]);
        auto* y = static_cast<decltype(to)*>(out[0]);
        Walk(outputs[0].view.axes, {&inputs[0].view, &outputs[0].view}).each([&](const auto& at) {
          y[at[1]] = static_cast<decltype(to)>(x[at[0]]);
        });
      });
    });
  }
};

}  // namespace

extern const KernelEntry cast_entry;
const KernelEntry cast_entry = {&ops::cast_entry, make<CastKernel>};

}  // namespace levanter::reference
