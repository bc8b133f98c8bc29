// Rows of a table by index, and the gradient of that: updates sorted by index, summed in order.
// Plain twins: kernels/reference/gather.cpp and scatter_add.cpp.
#include <cstring>

#include "kernels/cpu/embedding.h"
#include "kernels/cpu/kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// A table [rows, width...] and an index that shares no axis with it.
bool is_table(const Axes& table, AxisName axis, const Axes& index) {
  return table.find(axis) == 0 && intersect(table, index).empty();
}

class GatherKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const int64_t size = inputs[0].view.axes[0].size;
    const int64_t rows = inputs[1].view.axes.elements();
    const int64_t width = outputs[0].view.axes.elements() / std::max<int64_t>(1, rows);
    const auto* index = static_cast<const int32_t*>(in[1]);
    const auto bytes = static_cast<size_t>(width) * sizeof(float);
    for_rows(context.pool, inputs[1].view.axes.elements(), width,
             [&](int64_t first, int64_t count) {
               for (int64_t i = first; i < first + count; ++i) {
                 float* row = floats(out[0]) + i * width;
                 if (index[i] >= 0 && index[i] < size)
                   std::memcpy(row, floats(in[0]) + index[i] * width, bytes);
                 else
                   std::memset(row, 0, bytes);
               }
             });
  }
};

std::unique_ptr<Kernel> make_gather(Context& context, const KernelRequest& request) {
  const ArrayInfo &table = request.inputs[0], &index = request.inputs[1];
  if (!is_table(table.view.axes, request.node.attributes.axis, index.view.axes) ||
      !table.view.is_contiguous() || !index.view.is_contiguous())
    return nullptr;
  return make<GatherKernel>(context, request);
}

class ScatterAddKernel final : public CpuKernel {
 public:
  ScatterAddKernel(Context& c, const KernelRequest& request) : CpuKernel(c, request) {
    const Axes& table = outputs[0].view.axes;
    gradient_ = {inputs[1].view.axes.elements(), table[0].size, table.elements() / table[0].size};
  }
  int64_t workspace_bytes() const override {
    return static_cast<int64_t>(gradient_.scratch_bytes());
  }
  void run(const void* const* in, void* const* out, void* workspace) const override {
    gradient_.run(context.pool, static_cast<const int32_t*>(in[1]), floats(in[0]), gradient_.width,
                  floats(out[0]), workspace);
  }

 private:
  EmbeddingGradient gradient_;
};

std::unique_ptr<Kernel> make_scatter_add(Context& context, const KernelRequest& request) {
  const ArrayInfo &updates = request.inputs[0], &index = request.inputs[1];
  const Axes& table = request.outputs[0].view.axes;
  if (updates.dtype != DType::f32 ||
      !is_table(table, request.node.attributes.axis, index.view.axes) ||
      !updates.view.is_contiguous() || !index.view.is_contiguous() || table.elements() == 0 ||
      !(updates.view.axes == replace(table, table[0].name, index.view.axes)))
    return nullptr;
  return make<ScatterAddKernel>(context, request);
}

}  // namespace

extern const CpuKernelEntry gather_entry;
const CpuKernelEntry gather_entry = {{.op = &ops::gather_entry, .make = make_gather},
                                     {.op = &ops::scatter_add_entry, .make = make_scatter_add}};

}  // namespace levanter::cpu
