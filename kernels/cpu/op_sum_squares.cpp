// Sums of squares: for each index of the shard axis first, over that axis last.
// Plain twin: src/ops/composite/sum_squares.cpp.
#include "kernels/cpu/kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// The sum of squares of [outer, shard, inner]: over outer and inner for each shard index, then
/// over the shard axis.
class SumSquaresKernel final : public CpuKernel {
 public:
  SumSquaresKernel(Context& c, const KernelRequest& request) : CpuKernel(c, request) {
    const Axes& axes = inputs[0].view.axes;
    const int at = axes.find(attributes.axis);
    for (int i = 0; i < static_cast<int>(axes.size()); ++i) {
      const int64_t size = axes[static_cast<size_t>(i)].size;
      if (i < at) outer_ *= size;
      if (i == at) shard_ *= size;
      if (i > at) inner_ *= size;
    }
    if (inner_ == 1) blocks_ = ceil_div(outer_, kBlockRows);
  }

  int64_t workspace_bytes() const override { return align64(shard_ * blocks_ * 4) + shard_ * 4; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    float* partial = floats(workspace);
    float* total = partial + align64(shard_ * blocks_ * 4) / 4;
    if (inner_ == 1) {
      columns(floats(in[0]), partial);
      context.vector.sum_rows(total, partial, shard_, blocks_, shard_);
    } else {
      rows(floats(in[0]), total);
    }
    *floats(out[0]) = context.vector.sum(total, shard_);
  }

 private:
  /// The shard axis is innermost: blocks of outer rows, each column on its own.
  void columns(const float* x, float* partial) const {
    context.pool.parallel_for(blocks_, [&](int64_t block, int) {
      float* y = partial + block * shard_;
      const int64_t first = block * kBlockRows, last = std::min(outer_, first + kBlockRows);
      for (int64_t c = 0; c < shard_; ++c) y[c] = 0;
      for (int64_t r = first; r < last; ++r)
        for (int64_t c = 0; c < shard_; ++c) y[c] += x[r * shard_ + c] * x[r * shard_ + c];
    });
  }
  /// Otherwise one shard index after the other, its outer pieces in order.
  void rows(const float* x, float* total) const {
    for_rows(context.pool, shard_, outer_ * inner_, [&](int64_t first, int64_t count) {
      for (int64_t s = first; s < first + count; ++s) {
        float sum = 0;
        for (int64_t o = 0; o < outer_; ++o)
          sum += context.vector.sum_squares(x + (o * shard_ + s) * inner_, inner_);
        total[s] = sum;
      }
    });
  }

  int64_t outer_ = 1, shard_ = 1, inner_ = 1, blocks_ = 1;
};

}  // namespace

extern const CpuKernelEntry sum_squares_entry;
const CpuKernelEntry sum_squares_entry = {
    {.op = &ops::sum_squares_entry, .make = make<SumSquaresKernel>, .packs_inputs = true}};

}  // namespace levanter::cpu
