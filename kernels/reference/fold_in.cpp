// Keys folded with a constant.
#include "base/random.h"
#include "kernels/reference/walk.h"

namespace levanter::reference {

namespace {

class FoldInKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto* keys = static_cast<const uint32_t*>(in[0]);
    auto* folded = static_cast<uint32_t*>(out[0]);
    const auto data = static_cast<uint32_t>(attributes.ints[0]);
    for (int64_t i = 0; i < outputs[0].view.axes.elements(); i += 2) {
      const Key key = levanter::fold_in(Key{keys[i], keys[i + 1]}, data);
      folded[i] = key.hi;
      folded[i + 1] = key.lo;
    }
  }
};

}  // namespace

extern const KernelEntry fold_in_entry;
const KernelEntry fold_in_entry = {"fold_in", make<FoldInKernel>};

}  // namespace levanter::reference
