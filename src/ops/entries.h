// The ops as objects, for those who ask of a node which op it is: passes, kernels and the runtime.
// A name that no op has does not link.
#pragma once

#include "graph/graph.h"

namespace levanter {

namespace ops {

extern const Op adamw_entry;
extern const Op all_gather_entry;
extern const Op attention_entry;
extern const Op attention_grad_entry;
extern const Op broadcast_entry;
extern const Op cast_entry;
extern const Op concat_entry;
extern const Op constant_entry;
extern const Op copy_entry;
extern const Op dot_add_entry;
extern const Op dot_entry;
extern const Op dropout_entry;
extern const Op eigh_entry;
extern const Op fold_in_entry;
extern const Op fused_entry;
extern const Op gather_entry;
extern const Op gelu_entry;
extern const Op gelu_grad_entry;
extern const Op grouped_dot_entry;
extern const Op grouped_outer_entry;
extern const Op input_entry;
extern const Op iota_entry;
extern const Op layer_norm_entry;
extern const Op layer_norm_grad_entry;
extern const Op linear_xent_entry;
extern const Op literal_entry;
extern const Op map_entry;
extern const Op merge_axes_entry;
extern const Op pack_entry;
extern const Op partition_entry;
extern const Op qr_entry;
extern const Op random_bits_entry;
extern const Op reduce_entry;
extern const Op rename_entry;
extern const Op rounded_dot_entry;
extern const Op scatter_add_entry;
extern const Op scatter_entry;
extern const Op softmax_entry;
extern const Op split_axis_entry;
extern const Op stop_gradient_entry;
extern const Op sum_squares_entry;
extern const Op top_k_entry;
extern const Op transpose_entry;
extern const Op uniform_entry;

}  // namespace ops

inline bool is(const Node& node, const Op& op) { return node.op == &op; }

}  // namespace levanter
