// Regions of nodes, and single nodes with bf16 operands as regions of one.
// Plain twin: src/ops/composite/fused.cpp.
#include "kernels/cpu/region_kernel.h"

#include <algorithm>

#include "kernels/cpu/region.h"
#include "ops/entries.h"
#include "ops/ops.h"

namespace levanter::cpu {

namespace {

class RegionKernel final : public CpuKernel {
 public:
  RegionKernel(Context& c, const KernelRequest& request, const Body& body)
      : CpuKernel(c, request), region_(c, body, inputs, outputs, request.small_m) {}
  int64_t workspace_bytes() const override { return region_.workspace_bytes(); }
  bool in_place(size_t output, size_t input) const override {
    return region_.in_place(output, input);
  }
  void run(const void* const* in, void* const* out, void* workspace) const override {
    region_.run(in, out, workspace);
  }

 private:
  Region region_;
};

std::unique_ptr<Kernel> make_fused(Context& context, const KernelRequest& request) {
  return std::make_unique<RegionKernel>(context, request, *request.node.body);
}

/// Sums lie without gaps; what runs over the whole space may lie anyhow.
bool writes_strided(const Node& node) {
  return std::all_of(
             node.outputs.begin(), node.outputs.end(),
             [&](const Type& type) { return type.axes.size() == node.outputs[0].axes.size(); }) &&
         !is(node.body->graph.node(node.body->results[0].node), ops::reduce_entry);
}

}  // namespace

bool is_bf16(const KernelRequest& request) {
  const auto is = [](DType dtype) {
    return [dtype](const ArrayInfo& info) { return info.dtype == dtype; };
  };
  const ArrayInfo& first = request.inputs[0];
  return (is(DType::bf16)(first) ||
          std::any_of(request.outputs.begin(), request.outputs.end(), is(DType::bf16))) &&
         (is(DType::bf16)(first) || is(DType::f32)(first)) && first.view.axes.elements() > 0;
}

std::unique_ptr<Kernel> make_region(Context& context, const KernelRequest& request) {
  return std::make_unique<RegionKernel>(context, request, kernels::body_of(request));
}

extern const CpuKernelEntry fused_entry;
const CpuKernelEntry fused_entry = {
    {.op = &ops::fused_entry, .make = make_fused, .writes_strided = writes_strided, .bf16 = true}};

}  // namespace levanter::cpu
