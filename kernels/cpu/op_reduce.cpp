// Sums over leading or trailing axes, maxima over trailing ones.
// Plain twin: kernels/reference/reduce.cpp.
#include "kernels/cpu/region_kernel.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// Columns that one task sums, so that few rows still make several tasks.
constexpr int64_t kBlockColumns = 2048;

/// [rows, width] -> [width], `blocks` x width scratch.
void sum_columns(Context& context, const float* x, int64_t rows, int64_t width, float* y,
                 float* scratch) {
  const int64_t blocks = ceil_div(rows, kBlockRows), strips = ceil_div(width, kBlockColumns);
  context.pool.parallel_for(blocks * strips, [&](int64_t task, int) {
    const int64_t block = task / strips, column = task % strips * kBlockColumns;
    context.vector.sum_rows(
        scratch + block * width + column, x + block * kBlockRows * width + column, width,
        std::min(kBlockRows, rows - block * kBlockRows), std::min(kBlockColumns, width - column));
  });
  context.vector.sum_rows(y, scratch, width, blocks, width);
}

/// Whether `over` are the first (or last) axes of `axes`.
bool leads(const Axes& axes, const Axes& over) {
  for (size_t i = 0; i < over.size(); ++i)
    if (!over.contains(axes[i].name)) return false;
  return true;
}
bool trails(const Axes& axes, const Axes& over) {
  for (size_t i = 0; i < over.size(); ++i)
    if (!over.contains(axes[axes.size() - 1 - i].name)) return false;
  return true;
}

class ColumnSumKernel final : public CpuKernel {
 public:
  ColumnSumKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request),
        width_(outputs[0].view.axes.elements()),
        rows_(ReduceAttributes::of(attributes).over.elements()) {}
  int64_t workspace_bytes() const override { return ceil_div(rows_, kBlockRows) * width_ * 4; }
  void run(const void* const* in, void* const* out, void* workspace) const override {
    sum_columns(context, floats(in[0]), rows_, width_, floats(out[0]), floats(workspace));
  }

 private:
  int64_t width_, rows_;
};

class RowReduceKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto [kind, over] = ReduceAttributes::of(attributes);
    const int64_t width = over.elements();
    const int64_t rows = outputs[0].view.axes.elements();
    const auto reduce = kind == Reduce::kSum ? context.vector.sum : context.vector.max;
    for_rows(context.pool, rows, width, [&](int64_t first, int64_t count) {
      for (int64_t r = first; r < first + count; ++r)
        floats(out[0])[r] = reduce(floats(in[0]) + r * width, width);
    });
  }
};

std::unique_ptr<Kernel> make_reduce(Context& context, const KernelRequest& request) {
  const auto [kind, over] = ReduceAttributes::of(request.node.attributes);
  const ArrayInfo& x = request.inputs[0];
  const bool whole = x.view.is_contiguous() && x.view.axes.elements() > 0;
  const bool sums = kind == Reduce::kSum;
  const bool rows = trails(x.view.axes, over), columns = leads(x.view.axes, over) && !rows;
  if (!whole || kind == Reduce::kMin) return nullptr;
  if (x.dtype == DType::bf16 && columns && sums) return make_region(context, request);
  if (x.dtype != DType::f32) return nullptr;
  if (rows) return make<RowReduceKernel>(context, request);
  return columns && sums ? make<ColumnSumKernel>(context, request) : nullptr;
}

}  // namespace

extern const CpuKernelEntry reduce_entry;
const CpuKernelEntry reduce_entry = {{.op = &ops::reduce_entry, .make = make_reduce, .bf16 = true}};

}  // namespace levanter::cpu
