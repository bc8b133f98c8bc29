// Dropout: the mask comes from each row's key and the index inside the row.
// Plain twin: src/ops/composite/dropout.cpp.
#include "kernels/cpu/region_kernel.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

class DropoutKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const int64_t rows = inputs[1].view.axes.elements() / 2;
    if (rows == 0) return;
    const int64_t width = inputs[0].view.axes.elements() / rows;
    const int64_t pieces = ceil_div(width, kTaskElements);
    const auto* keys = static_cast<const uint32_t*>(in[1]);
    const auto keep = static_cast<float>(1 - DropoutAttributes::of(attributes).rate);
    context.pool.parallel_for(rows * pieces, [&](int64_t task, int) {
      const int64_t row = task / pieces, begin = task % pieces * kTaskElements;
      const int64_t at = row * width + begin;
      context.vector.dropout(floats(out[0]) + at, floats(in[0]) + at,
                             std::min(kTaskElements, width - begin), keep,
                             {keys[2 * row], keys[2 * row + 1], static_cast<uint64_t>(begin)});
    });
  }
  bool in_place(size_t, size_t input) const override { return input == 0; }
};

}  // namespace

extern const CpuKernelEntry dropout_entry;
const CpuKernelEntry dropout_entry = {{.op = &ops::dropout_entry,
                                       .make = make_either<DropoutKernel>,
                                       .packs_inputs = true,
                                       .bf16 = true}};

}  // namespace levanter::cpu
