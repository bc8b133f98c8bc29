// Keys folded with a constant.
#include "base/random.h"
#include "kernels/reference/walk.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class FoldInKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto* keys = static_cast<const uint32_t*>(in[0]);
    auto* folded = static_cast<uint32_t*>(out[0]);
    const uint32_t data = FoldInAttributes::of(attributes).data;
    const View &from = inputs[0].view, &to = outputs[0].view;
    const size_t word = from.axes.size() - 1;
    Walk(without(from.axes, from.axes[word].name), {&from, &to}).each([&](const auto& at) {
      const Key key{keys[at[0]], keys[at[0] + from.strides[word]]};
      const Key next = levanter::fold_in(key, data);
      folded[at[1]] = next.hi;
      folded[at[1] + to.strides[word]] = next.lo;
    });
  }
};

}  // namespace

extern const KernelEntry fold_in_entry;
const KernelEntry fold_in_entry = {&ops::fold_in_entry, make<FoldInKernel>};

}  // namespace levanter::reference
