// Attention as kernels see it: sizes, strides and options instead of named axes.
#include "kernels/shared/attention_shape.h"

#include "kernels/shared/strides.h"
#include "ops/composite/attention.h"
#include "ops/ops.h"

namespace levanter::kernels {

namespace {

/// Whether several queries share a key head. A group of one may have any stride.
bool is_grouped(const Axes& axes) {
  return axes.contains("q_group") && axes.size_of("q_group") > 1;
}

}  // namespace

AttentionView attention_view(const View& view, AxisName position) {
  const bool grouped = is_grouped(view.axes);
  return {stride_of(view, "batch"), stride_of(view, position),
          stride_of(view, grouped ? "q_group" : "kv_head")};
}

bool takes_attention(const Node& node, std::span<const Type> in) {
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

bool reads_attention(const View& view) {
  if (!view.axes.contains("head_dim")) return false;
  const auto steps_by = [&](AxisName axis, int64_t stride) {
    return view.axes.size_of(axis) == 1 || stride_of(view, axis) == stride;
  };
  return steps_by("head_dim", 1) &&
         (!is_grouped(view.axes) ||
          steps_by("kv_head", view.axes.size_of("q_group") * stride_of(view, "q_group")));
}

bool reads_attention(const KernelRequest& request, size_t input) {
  return reads_attention(request.inputs[input].view);
}

AttentionShape attention_shape(const Attributes& attributes, const std::vector<ArrayInfo>& in) {
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

}  // namespace levanter::kernels
