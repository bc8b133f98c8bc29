// 32 random bits an element: the counter is the index inside the key's row.
#include "base/random.h"
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

class RandomBitsKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto* keys = static_cast<const uint32_t*>(in[0]);
    auto* bits = static_cast<uint32_t*>(out[0]);
    const View &from = inputs[0].view, &to = outputs[0].view;
    const size_t word = from.axes.size() - 1;
    const Axes rows = without(from.axes, from.axes[word].name);
    Walk row(rows, {&from, &to}), inside(without(to.axes, rows), {&to});
    row.each([&](const auto& at) {
      const Key key{keys[at[0]], keys[at[0] + from.strides[word]]};
      uint64_t counter = 0;
      inside.each(
          [&](const auto& k) { bits[at[1] + k[0]] = levanter::random_bits(key, counter++); });
    });
  }
};

}  // namespace

extern const KernelEntry random_bits_entry;
const KernelEntry random_bits_entry = {&ops::random_bits_entry, make<RandomBitsKernel>};

}  // namespace levanter::reference
