// Attention and its gradients: named axes to strides, then tiles of queries.
#include <algorithm>
#include <optional>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/cached_attention.h"
#include "kernels/cpu/kernel.h"
#include "ops/composite/attention.h"
#include "ops/entries.h"
#include "ops/ops.h"

namespace levanter::cpu {

namespace {

/// Whether several queries share a key head. A group of one may have any stride.
bool is_grouped(const Axes& axes) {
  return axes.contains("q_group") && axes.size_of("q_group") > 1;
}

/// Heads are kv_head x q_group, which lie like one axis in q.
AttentionView attention_view(const View& view, AxisName position) {
  const bool grouped = is_grouped(view.axes);
  return {stride_of(view, "batch"), stride_of(view, position),
          stride_of(view, grouped ? "q_group" : "kv_head")};
}

/// batch, position, kv_head, head_dim and at most q_group; a fused kernel for every such order
/// whose head_dim is innermost and whose q_group lies inside kv_head. Segments are those of each
/// sequence, and so are the keys of dropout.
bool takes(const Node& node, std::span<const Type> in) {
  const auto a = AttentionAttributes::of(node.attributes);
  const Axes &q = in[0].axes, &k = in[1].axes;
  const bool grouped = q.contains("q_group");
  if (a.has_positions && node.outputs.size() != 2) return false;  // no gradient through a cache
  if (q.size() != (grouped ? 5u : 4u) || k.size() != 4) return false;
  if (grouped && q.find("q_group") != q.find("kv_head") + 1) return false;
  for (const Axes& axes : {q, k})
    if (axes.find("batch") != 0 || !axes.contains("kv_head") || axes.elements() == 0 ||
        axes[axes.size() - 1].name != AxisName("head_dim"))
      return false;
  const Axis batch = q[0], position{"position", q.size_of("position")};
  return (!a.has_segments || in[3].axes == Axes{batch, position}) &&
         (!a.has_keys || in[a.operands() - 1].axes == Axes{batch, key_word()});
}

/// Whether an operand of the queries' or keys' form is read where it lies: its rows of head_dim
/// without gaps, and its heads like one axis.
bool reads(const KernelRequest& request, size_t input) {
  const View& view = request.inputs[input].view;
  if (!view.axes.contains("head_dim")) return false;
  const auto steps_by = [&](AxisName axis, int64_t stride) {
    return view.axes.size_of(axis) == 1 || stride_of(view, axis) == stride;
  };
  return steps_by("head_dim", 1) &&
         (!is_grouped(view.axes) ||
          steps_by("kv_head", view.axes.size_of("q_group") * stride_of(view, "q_group")));
}

/// Grouped heads that are written into a larger array may not lie like one axis.
bool writes_strided(const Node& node) { return !node.outputs[0].axes.contains("q_group"); }

AttentionShape shape_of(const Attributes& attributes, const std::vector<ArrayInfo>& in) {
  const auto a = AttentionAttributes::of(attributes);
  const Axes &q = in[0].view.axes, &k = in[1].view.axes;
  const int64_t kv_heads = k.size_of("kv_head");
  return {.batch = q.size_of("batch"),
          .heads = kv_heads * (q.contains("q_group") ? q.size_of("q_group") : 1),
          .kv_heads = kv_heads,
          .queries = q.size_of("position"),
          .keys = k.size_of("key_position"),
          .head_dim = q.size_of("head_dim"),
          .scale = static_cast<float>(a.scale),
          .soft_cap = static_cast<float>(a.soft_cap),
          .causal = a.causal,
          .window = a.window,
          .keep = static_cast<float>(1 - a.dropout_rate),
          .dtype = in[0].dtype};
}

class AttentionKernel final : public CpuKernel {
 public:
  AttentionKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request),
        pass_(request.node.outputs.size() == 2 ? Attention::Pass::kForward
                                               : Attention::Pass::kBackward),
        attention_(c.products, shape_of(attributes, inputs), pass_) {}

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

  Attention::Pass pass_;
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
                                         .supports = takes,
                                         .packs_inputs = true,
                                         .reads = reads,
                                         .bf16 = true},
                                        {.op = &ops::attention_grad_entry,
                                         .make = make<AttentionKernel>,
                                         .supports = takes,
                                         .packs_inputs = true,
                                         .reads = reads,
                                         .writes_strided = writes_strided,
                                         .bf16 = true}};

}  // namespace levanter::cpu
