// Numbers known when the model is traced.
#include "kernels/reference/walk.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class LiteralKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const*, void* const* out, void*) const override {
    const std::vector<double>& values = *LiteralAttributes::of(attributes).values;
    with_type(outputs[0].dtype, [&](auto zero) {
      auto* y = static_cast<decltype(zero)*>(out[0]);
      for (size_t i = 0; i < values.size(); ++i)
        y[static_cast<int64_t>(i) * outputs[0].view.strides[0]] =
            static_cast<decltype(zero)>(values[i]);
    });
  }
};

}  // namespace

extern const KernelEntry literal_entry;
const KernelEntry literal_entry = {&ops::literal_entry, make<LiteralKernel>};

}  // namespace levanter::reference
