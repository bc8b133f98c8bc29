// The kernels of attention for one element type and depth, which the files that are compiled name:
// only what a run uses is.
#pragma once

#include "kernels/cuda/device/attention_backward.cuh"
#include "kernels/cuda/device/attention_forward.cuh"

#define LEV_ATTENTION_KERNEL(name, pass, body, Type, depth)                             \
  LEV_KERNEL_BLOCKS(name, AttentionArguments,                                           \
                    attention_tiles(AttentionPass::pass, depth, sizeof(Type)).threads,  \
                    attention_tiles(AttentionPass::pass, depth, sizeof(Type)).blocks) { \
    body<Type, depth>(a);                                                               \
  }
#define LEV_ATTENTION(variant, Type, depth)                                                   \
  namespace levanter::cuda::kernels {                                                         \
  LEV_ATTENTION_KERNEL(attention_forward_##variant, kForward, attention_forward, Type, depth) \
  LEV_ATTENTION_KERNEL(attention_keys_##variant, kKeys, attention_keys, Type, depth)          \
  LEV_ATTENTION_KERNEL(attention_queries_##variant, kQueries, attention_queries, Type, depth) \
  }
