// 0, 1, 2, ... along an axis.
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class IotaKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const*, void* const* out, void*) const override {
    with_type(outputs[0].dtype, [&](auto zero) {
      auto* y = static_cast<decltype(zero)*>(out[0]);
      for (int64_t i = 0; i < outputs[0].view.axes.elements(); ++i)
        y[i * outputs[0].view.strides[0]] = static_cast<decltype(zero)>(i);
    });
  }
};

}  // namespace

extern const KernelEntry iota_entry;
const KernelEntry iota_entry = {&ops::iota_entry, make<IotaKernel>};

}  // namespace levanter::reference
