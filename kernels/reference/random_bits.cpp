// 32 random bits an element: the counter is the index inside the key's row.
#include "base/random.h"
#include "kernels/reference/walk.h"

namespace levanter::reference {

namespace {

class RandomBitsKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto* keys = static_cast<const uint32_t*>(in[0]);
    auto* bits = static_cast<uint32_t*>(out[0]);
    const int64_t rows = inputs[0].view.axes.elements() / 2;
    const int64_t width = rows ? outputs[0].view.axes.elements() / rows : 0;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < width; ++i)
        bits[r * width + i] =
            levanter::random_bits(Key{keys[2 * r], keys[2 * r + 1]}, static_cast<uint64_t>(i));
  }
};

}  // namespace

extern const KernelEntry random_bits_entry;
const KernelEntry random_bits_entry = {"random_bits", make<RandomBitsKernel>};

}  // namespace levanter::reference
