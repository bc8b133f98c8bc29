// The kernel of attention that runs by a plan of cuDNN.
#include "kernels/cuda/sdpa_kernel.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/cuda/sdpa.h"
#include "kernels/shared/attention_shape.h"
#include "ops/composite/attention.h"

namespace levanter::cuda {

namespace {

constexpr int64_t kAlignment = 16;  // bytes, of every row of head_dim
constexpr int64_t kHeadDims[] = {64, 128, 256};

/// Where each array is: an input or an output of the node.
struct Operand {
  SdpaArray array;
  bool is_input;
  size_t index;
};

std::vector<Operand> operands_of(const KernelRequest& request) {
  std::vector<Operand> operands = {
      {SdpaArray::kQ, true, 0}, {SdpaArray::kK, true, 1}, {SdpaArray::kV, true, 2}};
  if (request.node.op == &ops::attention_entry) {
    operands.push_back({SdpaArray::kO, false, 0});
    operands.push_back({SdpaArray::kLse, false, 1});
    return operands;
  }
  const size_t first = AttentionAttributes::of(request.node.attributes).operands();
  operands.push_back({SdpaArray::kO, true, first});
  operands.push_back({SdpaArray::kLse, true, first + 1});
  operands.push_back({SdpaArray::kDO, true, first + 2});
  operands.push_back({SdpaArray::kDQ, false, 0});
  operands.push_back({SdpaArray::kDK, false, 1});
  operands.push_back({SdpaArray::kDV, false, 2});
  return operands;
}

/// Of an array whose rows of head_dim lie without gaps, aligned, each for itself, and whose heads
/// lie like one axis; none of another.
std::optional<SdpaStrides> row_strides(const ArrayInfo& array,
                                       const kernels::AttentionShape& shape) {
  const View& view = array.view;
  const int64_t step = kAlignment / size_of(array.dtype);
  if (!kernels::reads_attention(view) || view.offset % step != 0) return std::nullopt;
  const bool of_queries = view.axes.contains("position");
  const int64_t heads = of_queries ? shape.heads : shape.kv_heads;
  const int64_t positions = of_queries ? shape.queries : shape.keys;
  const auto found = kernels::attention_view(view, of_queries ? "position" : "key_position");
  SdpaStrides strides{found.batch, found.head, found.position};
  // Strides along axes of size 1 mean nothing, but the library looks at them all the same.
  if (heads == 1) strides.head = shape.head_dim;
  if (shape.batch == 1)
    strides.batch = std::max(strides.head * heads, strides.position * positions);
  for (const int64_t stride : {strides.batch, strides.head, strides.position})
    if (stride <= 0 || stride % step != 0) return std::nullopt;
  return strides;
}

/// Of lse without gaps, as [batch, head, position]; none where it lies in another way.
std::optional<SdpaStrides> dense_strides(const View& lse, const kernels::AttentionShape& shape) {
  const SdpaStrides dense{shape.heads * shape.queries, shape.queries, 1};
  const auto found = kernels::attention_view(lse, "position");
  const bool is_dense = found.position == dense.position &&
                        (shape.heads == 1 || found.head == dense.head) &&
                        (shape.batch == 1 || found.batch == dense.batch);
  return is_dense ? std::optional(dense) : std::nullopt;
}

/// What the library is asked for; none where it is not to be asked.
std::optional<SdpaShape> sdpa_shape(const KernelRequest& request) {
  const auto a = AttentionAttributes::of(request.node.attributes);
  const kernels::AttentionShape s =
      kernels::attention_shape(request.node.attributes, request.inputs);
  if (s.dtype != DType::bf16 || a.has_segments || a.has_positions || a.has_keys || s.soft_cap > 0 ||
      s.keep < 1 ||
      std::find(std::begin(kHeadDims), std::end(kHeadDims), s.head_dim) == std::end(kHeadDims))
    return std::nullopt;
  SdpaShape shape{.backward = request.node.op != &ops::attention_entry,
                  .batch = s.batch,
                  .heads = s.heads,
                  .kv_heads = s.kv_heads,
                  .queries = s.queries,
                  .keys = s.keys,
                  .head_dim = s.head_dim,
                  .causal = s.causal,
                  .window = s.window < s.keys ? s.window : 0,
                  .strides = {}};
  for (const Operand& operand : operands_of(request)) {
    const ArrayInfo& array =
        operand.is_input ? request.inputs[operand.index] : request.outputs[operand.index];
    const auto strides =
        operand.array == SdpaArray::kLse ? dense_strides(array.view, s) : row_strides(array, s);
    if (!strides) return std::nullopt;
    shape.strides[static_cast<size_t>(operand.array)] = *strides;
  }
  return shape;
}

class SdpaKernel final : public CudaKernel {
 public:
  SdpaKernel(Context& c, const KernelRequest& request, const SdpaPlan& plan)
      : CudaKernel(c, request),
        plan_(plan),
        operands_(operands_of(request)),
        scale_(static_cast<float>(AttentionAttributes::of(attributes).scale)) {}

  int64_t workspace_bytes() const override { return plan_.workspace_bytes(); }
  std::string plan() const override { return plan_.name(); }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    std::array<const void*, kSdpaArrays> arrays{};
    for (const Operand& operand : operands_)
      arrays[static_cast<size_t>(operand.array)] =
          operand.is_input ? in[operand.index] : out[operand.index];
    plan_.run(arrays, scale_, workspace);
  }

 private:
  const SdpaPlan& plan_;
  const std::vector<Operand> operands_;
  const float scale_;
};

}  // namespace

std::unique_ptr<Kernel> make_sdpa_kernel(Context& context, const KernelRequest& request) {
  const std::optional<SdpaShape> shape = sdpa_shape(request);
  if (!shape) return nullptr;
  const SdpaPlan* plan = context.sdpa().find(*shape);
  return plan ? std::make_unique<SdpaKernel>(context, request, *plan) : nullptr;
}

}  // namespace levanter::cuda
