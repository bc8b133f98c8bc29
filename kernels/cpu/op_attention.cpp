// Attention and its gradients: named axes to strides, then tiles of queries.
// Plain twin: src/ops/composite/attention.cpp.
#include <algorithm>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/cached_attention.h"
#include "kernels/cpu/kernel.h"
#include "ops/composite/attention.h"
#include "ops/entries.h"
#include "ops/ops.h"

namespace levanter::cpu {

using kernels::attention_shape;
using kernels::attention_view;

namespace {

/// Grouped heads that are written into a larger array may not lie like one axis.
bool writes_strided(const Node& node) { return !node.outputs[0].axes.contains("q_group"); }

class AttentionKernel final : public CpuKernel {
 public:
  AttentionKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request),
        pass_(request.node.outputs.size() == 2 ? Attention::Pass::kForward
                                               : Attention::Pass::kBackward),
        is_statistics_(is(request.node, ops::attention_statistics_entry)),
        attention_(c.products, attention_shape(attributes, inputs), pass_) {}

  int64_t workspace_bytes() const override {
    return context.pool.threads() * static_cast<int64_t>(attention_.scratch_bytes_per_worker());
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const auto a = AttentionAttributes::of(attributes);
    AttentionInput input;
    input.q = in[0];
    input.k = in[1];
    input.v = in[2];
    input.q_view = attention_view(inputs[0].view, "position");
    input.k_view = attention_view(inputs[1].view, "key_position");
    input.v_view = attention_view(inputs[2].view, "key_position");
    if (a.has_segments) input.segment_ids = segments(static_cast<const int32_t*>(in[3]));
    if (a.has_keys) input.dropout_keys = static_cast<const uint32_t*>(in[a.operands() - 1]);
    if (is_statistics_)
      return attention_.statistics(context.pool, input, {floats(out[0]), floats(out[1])},
                                   workspace);
    if (pass_ == Attention::Pass::kForward) {
      const AttentionOutput output{out[0], attention_view(outputs[0].view, "position"),
                                   floats(out[1])};
      attention_.forward(context.pool, input, output, workspace);
      return;
    }
    const size_t n = a.operands();
    AttentionGradients g;
    g.o = in[n];
    g.lse = floats(in[n + 1]);
    g.d_o = in[n + 2];
    g.o_view = attention_view(inputs[n].view, "position");
    g.do_view = attention_view(inputs[n + 2].view, "position");
    g.dq = out[0];
    g.dk = out[1];
    g.dv = out[2];
    g.dq_view = attention_view(outputs[0].view, "position");
    g.dk_view = attention_view(outputs[1].view, "key_position");
    g.dv_view = attention_view(outputs[2].view, "key_position");
    attention_.backward(context.pool, input, g, workspace);
  }

 private:
  /// Null when all tokens are of one segment, which spares the kernel its masks.
  const int32_t* segments(const int32_t* ids) const {
    const int64_t n = inputs[3].view.axes.elements();
    return std::all_of(ids, ids + n, [ids](int32_t id) { return id == ids[0]; }) ? nullptr : ids;
  }

  Attention::Pass pass_;  ///< whose plan serves
  bool is_statistics_;
  Attention attention_;
};

std::unique_ptr<Kernel> make_attention(Context& context, const KernelRequest& request) {
  if (AttentionAttributes::of(request.node.attributes).has_positions)
    return make_cached_attention(context, request);
  return make<AttentionKernel>(context, request);
}

}  // namespace

extern const CpuKernelEntry attention_entry;
const CpuKernelEntry attention_entry = {{.op = &ops::attention_entry,
                                         .make = make_attention,
                                         .supports = kernels::takes_attention,
                                         .packs_inputs = true,
                                         .reads = kernels::reads_attention,
                                         .bf16 = true},
                                        {.op = &ops::attention_statistics_entry,
                                         .make = make<AttentionKernel>,
                                         .supports = kernels::takes_attention,
                                         .packs_inputs = true,
                                         .reads = kernels::reads_attention,
                                         .bf16 = true},
                                        {.op = &ops::attention_grad_entry,
                                         .make = make<AttentionKernel>,
                                         .supports = kernels::takes_attention,
                                         .packs_inputs = true,
                                         .reads = kernels::reads_attention,
                                         .writes_strided = writes_strided,
                                         .bf16 = true}};

}  // namespace levanter::cpu
