// Random bits as a float in [0, 1).
#include "base/random.h"
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class UniformKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto* bits = static_cast<const uint32_t*>(in[0]);
    with_type(outputs[0].dtype, [&](auto zero) {
      auto* u = static_cast<decltype(zero)*>(out[0]);
      Walk(outputs[0].view.axes, {&inputs[0].view, &outputs[0].view}).each([&](const auto& at) {
        u[at[1]] = static_cast<decltype(zero)>(uniform_from_bits(bits[at[0]]));
      });
    });
  }
};

}  // namespace

extern const KernelEntry uniform_entry;
const KernelEntry uniform_entry = {&ops::uniform_entry, make<UniformKernel>};

}  // namespace levanter::reference
