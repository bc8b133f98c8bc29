// Attention as kernels see it: sizes, strides and options instead of named axes.
#pragma once

#include <span>
#include <vector>

#include "device/backend.h"

namespace levanter::kernels {

/// Where an array over batch, position, head and head_dim lies; strides in elements, head_dim's
/// is 1.
struct AttentionView {
  int64_t batch = 0, position = 0, head = 0;
};

/// For each batch row b, query head h = kv * (heads / kv_heads) + group, query t and key s:
///   x[b, h, t, s] = scale * q[b, t, h, :] . k[b, s, kv, :], then soft_cap tanh(x / soft_cap)
///   p[b, h, t, :] = softmax over allowed s of x
///   o[b, t, h, :] = sum over s of p' v[b, s, kv, :],  p' = p after dropout
/// Causal queries see the keys up to their own place, both ends aligned: s <= t + keys - queries;
/// with a window they see the last `window` of these.
struct AttentionShape {
  int64_t batch = 0, heads = 0, kv_heads = 0;
  int64_t queries = 0, keys = 0;  ///< positions
  int64_t head_dim = 0;
  float scale = 1;
  float soft_cap = 0;  ///< 0 for none
  bool causal = false;
  int64_t window = 0;        ///< 0 for none; else causal
  float keep = 1;            ///< probability that dropout keeps an element; 1 for no dropout
  DType dtype = DType::f32;  ///< of q, k, v, o and their gradients; or bf16
};

/// Whether a kernel for AttentionShape takes an attention node or its gradient: batch, position,
/// kv_head, head_dim and at most q_group, in every order whose head_dim is innermost and whose
/// q_group lies inside kv_head. Segments are those of each sequence, and so are the keys of
/// dropout.
bool takes_attention(const Node& node, std::span<const Type> in);

/// Whether an array of the queries' or keys' form is read where it lies: its rows of head_dim
/// without gaps, and its heads like one axis.
bool reads_attention(const View& view);
bool reads_attention(const KernelRequest& request, size_t input);

/// Heads are kv_head x q_group, which lie like one axis in q. `position`: what the array calls it.
AttentionView attention_view(const View& view, AxisName position);

/// Of a node with these attributes and inputs.
AttentionShape attention_shape(const Attributes& attributes, const std::vector<ArrayInfo>& in);

}  // namespace levanter::kernels
