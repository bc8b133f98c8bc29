// Sums of squares for each index of one axis.
// Plain twin: src/ops/composite/sum_squares.cpp.
#include "kernels/cpu/kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// The sums of squares of [outer, kept, inner] over outer and inner.
class SumSquaresKernel final : public CpuKernel {
 public:
  SumSquaresKernel(Context& c, const KernelRequest& request) : CpuKernel(c, request) {
    const Axes& axes = inputs[0].view.axes;
    const int at = axes.find(attributes.axis);
    for (int i = 0; i < static_cast<int>(axes.size()); ++i) {
      const int64_t size = axes[static_cast<size_t>(i)].size;
      if (i < at) outer_ *= size;
      if (i == at) kept_ *= size;
      if (i > at) inner_ *= size;
    }
    if (inner_ == 1) blocks_ = ceil_div(outer_, kBlockRows);
  }

  int64_t workspace_bytes() const override { return inner_ == 1 ? kept_ * blocks_ * 4 : 0; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    if (inner_ > 1) return rows(floats(in[0]), floats(out[0]));
    float* partial = floats(workspace);
    columns(floats(in[0]), partial);
    context.vector.sum_rows(floats(out[0]), partial, kept_, blocks_, kept_);
  }

 private:
  /// The kept axis is innermost: blocks of outer rows, each column on its own.
  void columns(const float* x, float* partial) const {
    context.pool.parallel_for(blocks_, [&](int64_t block, int) {
      float* y = partial + block * kept_;
      const int64_t first = block * kBlockRows, last = std::min(outer_, first + kBlockRows);
      for (int64_t c = 0; c < kept_; ++c) y[c] = 0;
      for (int64_t r = first; r < last; ++r)
        for (int64_t c = 0; c < kept_; ++c) y[c] += x[r * kept_ + c] * x[r * kept_ + c];
    });
  }
  /// Otherwise one kept index after the other, its outer pieces in order.
  void rows(const float* x, float* total) const {
    for_rows(context.pool, kept_, outer_ * inner_, [&](int64_t first, int64_t count) {
      for (int64_t s = first; s < first + count; ++s) {
        float sum = 0;
        for (int64_t o = 0; o < outer_; ++o)
          sum += context.vector.sum_squares(x + (o * kept_ + s) * inner_, inner_);
        total[s] = sum;
      }
    });
  }

  int64_t outer_ = 1, kept_ = 1, inner_ = 1, blocks_ = 1;
};

}  // namespace

extern const CpuKernelEntry sum_squares_entry;
const CpuKernelEntry sum_squares_entry = {
    {.op = &ops::sum_squares_entry, .make = make<SumSquaresKernel>, .packs_inputs = true}};

}  // namespace levanter::cpu
