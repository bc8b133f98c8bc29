// Fused regions, and norms, activations and dropout as regions of one node, by kernels made for
// each.
#include <algorithm>

#include "kernels/cuda/kernel.h"
#include "kernels/cuda/region_text.h"
#include "ops/ops.h"

namespace levanter::cuda {

namespace {

using kernels::RegionProgram;

class RegionKernel final : public CudaKernel {
 public:
  RegionKernel(Context& c, const KernelRequest& request, const Body& body)
      : CudaKernel(c, request),
        program_(body, inputs, outputs),
        made_(program_),
        region_(c, made_.name, made_.text),
        sums_(c, "reduce", "sum_blocks") {
    for (const RegionProgram::Output& output : program_.outputs) sum_of_.push_back(output.sum);
  }

  int64_t workspace_bytes() const override {
    return program_.sum_count * made_.sum_blocks * program_.width * int64_t{4};
  }
  bool in_place(size_t output, size_t input) const override {
    return program_.in_place(output, input);
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    RegionArguments arguments{};
    std::copy(in, in + inputs.size(), arguments.in);
    std::copy(out, out + outputs.size(), arguments.out);
    arguments.sums = static_cast<float*>(workspace);
    if (made_.items > 0)
      region_.loop(made_.items, arguments);
    else
      region_.launch(made_.grid, arguments);
    for (size_t o = 0; o < sum_of_.size(); ++o)
      if (sum_of_[o] >= 0) add_blocks(arguments.sums, sum_of_[o], out[o]);
  }

 private:
  /// The sums of the blocks, in order.
  void add_blocks(const float* sums, int sum, void* to) const {
    const int64_t blocks = made_.sum_blocks, width = program_.width;
    SumBlocksArguments arguments{};
    arguments.from = sums + sum * blocks * width;
    arguments.to = static_cast<float*>(to);
    arguments.blocks = blocks;
    arguments.width = width;
    sums_.loop(width, arguments);
  }

  RegionProgram program_;
  RegionText made_;
  Function region_, sums_;
  std::vector<int> sum_of_;  ///< by output; -1: it is none
};

std::unique_ptr<Kernel> make_fused(Context& context, const KernelRequest& request) {
  return std::make_unique<RegionKernel>(context, request, *request.node.body);
}

bool is_real(const Type& type) { return type.dtype == DType::f32 || type.dtype == DType::bf16; }

/// Norms over the last axes of what they norm, of rows that fit into a block's registers.
bool supports_norm(const Node& node, std::span<const Type> in) {
  const Axes &axes = in[0].axes, &over = in[1].axes;
  return is_real(in[0]) && node.outputs[0].elements() > 0 && takes_rows_of(over.elements()) &&
         over.size() <= axes.size() &&
         std::equal(over.begin(), over.end(), axes.end() - static_cast<long>(over.size()));
}

bool supports_elementwise(const Node& node, std::span<const Type> in) {
  return is_real(in[0]) && node.outputs[0].elements() > 0;
}

/// Sums lie without gaps; what runs over the whole space may lie anyhow.
bool writes_strided(const Node& node) {
  return std::all_of(
             node.outputs.begin(), node.outputs.end(),
             [&](const Type& type) { return type.axes.size() == node.outputs[0].axes.size(); }) &&
         !is(node.body->graph.node(node.body->results[0].node), ops::reduce_entry);
}

bool supports_fused(const Node& node, std::span<const Type>) {
  const Graph& graph = node.body->graph;
  return std::all_of(graph.nodes().begin(), graph.nodes().end(), [&](const Node& member) {
    if (!is(member, ops::layer_norm_entry) && !is(member, ops::layer_norm_grad_entry)) return true;
    return supports_norm(member, graph.input_types(member));
  });
}

}  // namespace

std::unique_ptr<Kernel> make_region(Context& context, const KernelRequest& request) {
  return std::make_unique<RegionKernel>(context, request, kernels::body_of(request));
}

extern const CudaKernelEntry fused_entry;
const CudaKernelEntry fused_entry = {
    {{&ops::fused_entry, make_fused, writes_strided, supports_fused},
     {&ops::layer_norm_entry, make_region, nullptr, supports_norm},
     {&ops::layer_norm_grad_entry, make_region, nullptr, supports_norm},
     {&ops::gelu_entry, make_region, nullptr, supports_elementwise},
     {&ops::gelu_grad_entry, make_region, nullptr, supports_elementwise},
     {&ops::dropout_entry, make_region, nullptr, supports_elementwise}}};

}  // namespace levanter::cuda
