// Both passes of attention; an item copies its keys and values together, then goes tile by tile.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kFewKeys = 256;  ///< up to here tiles of 64 queries, to skip more of the mask
constexpr int64_t kSmallTile = 64, kLargeTile = 128;

size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t floats_bytes(int64_t count) { return round_up(sizeof(float) * static_cast<size_t>(count)); }

/// rows x width from rows `stride` apart to dense rows, or back.
void gather_rows(float* dense, const float* from, int64_t stride, int64_t rows, int64_t width) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(width);
  for (int64_t r = 0; r < rows; ++r) std::memcpy(dense + r * width, from + r * stride, bytes);
}
void scatter_rows(float* to, int64_t stride, const float* dense, int64_t rows, int64_t width) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(width);
  for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * stride, dense + r * width, bytes);
}

int64_t offset(const AttentionView& view, int64_t batch, int64_t position, int64_t head) {
  return batch * view.batch + position * view.position + head * view.head;
}

}  // namespace

/// A worker's scratch. The backward pass uses all of it, the forward pass no gradients.
struct Attention::Scratch {
  int worker;
  float *k, *v, *dk, *dv;  ///< [keys, head_dim]
  float *q, *d_o, *mixed;  ///< [tile, head_dim]
  float *p, *dp;           ///< [tile, keys]
  float* spread;           ///< [keys, head_dim]
  void* product;
};

struct Attention::Item {
  int64_t batch, kv_head;
};

Attention::Attention(Products& products, const AttentionShape& shape, Pass pass)
    : shape_(shape), pass_(pass) {
  LEV_CHECK(shape.kv_heads >= 1 && shape.heads % shape.kv_heads == 0,
            "query heads are a multiple of kv heads");
  LEV_CHECK(
      shape.queries >= 1 && shape.keys >= (shape.causal ? shape.queries : 1) && shape.head_dim >= 1,
      "attention needs positions and head_dim");
  const int64_t step = shape.keys <= kFewKeys ? kSmallTile : kLargeTile, width = shape.head_dim;
  for (int64_t first = 0; first < shape.queries; first += step) {
    Tile tile;
    tile.first = first;
    tile.rows = std::min(step, shape.queries - first);
    tile.keys = shape.causal ? first + tile.rows + (shape.keys - shape.queries) : shape.keys;
    const int64_t rows = tile.rows, keys = tile.keys;
    tile.scores = &products.get({rows, keys, width, width, 1, 1, width, keys});
    tile.mix = &products.get({rows, width, keys, keys, 1, width, 1, width});
    product_bytes_ =
        std::max({product_bytes_, tile.scores->scratch_bytes(), tile.mix->scratch_bytes()});
    if (pass == Pass::kBackward) {
      tile.spread = &products.get({keys, width, rows, 1, keys, width, 1, width});
      product_bytes_ = std::max(product_bytes_, tile.spread->scratch_bytes());
    }
    tiles_.push_back(tile);
  }
  const auto used = reinterpret_cast<std::uintptr_t>(carve(nullptr, 0).product);
  scratch_bytes_ = static_cast<size_t>(used) + product_bytes_;
}

Attention::Scratch Attention::carve(void* scratch, int worker) const {
  const int64_t rows = tiles_.front().rows, width = shape_.head_dim, keys = shape_.keys;
  const bool backward = pass_ == Pass::kBackward;
  std::uintptr_t at = reinterpret_cast<std::uintptr_t>(scratch) +
                      static_cast<std::uintptr_t>(worker) * scratch_bytes_;
  const auto take = [&at](int64_t count) {
    float* const here = reinterpret_cast<float*>(at);
    at += floats_bytes(count);
    return here;
  };
  Scratch s{};
  s.worker = worker;
  s.k = take(keys * width);
  s.v = take(keys * width);
  s.q = take(rows * width);
  s.mixed = take(rows * width);
  s.p = take(rows * keys);
  if (backward) {
    s.d_o = take(rows * width);
    s.dp = take(rows * keys);
    s.dk = take(keys * width);
    s.dv = take(keys * width);
    s.spread = take(keys * width);
  }
  s.product = reinterpret_cast<void*>(at);
  return s;
}

Attention::Item Attention::item(int64_t index) const {
  return {index / shape_.kv_heads, index % shape_.kv_heads};
}

KeyMask Attention::mask(const AttentionInput& in, const Item& item, int64_t query) const {
  KeyMask mask;
  mask.limit = shape_.causal ? query + 1 + (shape_.keys - shape_.queries) : shape_.keys;
  if (in.segment_ids != nullptr) {
    mask.key_segments = in.segment_ids + item.batch * shape_.keys;
    mask.segment = mask.key_segments[query];
  }
  return mask;
}

RandomSpan Attention::random(const AttentionInput& in, const Item& item, int64_t head,
                             int64_t query) const {
  const uint32_t* const key = in.dropout_keys + 2 * item.batch;
  const int64_t first = (head * shape_.queries + query) * shape_.keys;
  return {key[0], key[1], static_cast<uint64_t>(first)};
}

void Attention::forward_item(const Item& item, const AttentionInput& in, const AttentionOutput& out,
                             const Scratch& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t width = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  const auto [b, kv] = item;
  gather_rows(s.k, in.k + offset(in.k_view, b, 0, kv), in.k_view.position, shape_.keys, width);
  gather_rows(s.v, in.v + offset(in.v_view, b, 0, kv), in.v_view.position, shape_.keys, width);
  for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
    float* const lse = out.lse + (b * shape_.heads + head) * shape_.queries;
    for (const Tile& tile : tiles_) {
      gather_rows(s.q, in.q + offset(in.q_view, b, tile.first, head), in.q_view.position, tile.rows,
                  width);
      tile.scores->run(s.worker, s.q, s.k, s.p, s.product);
      for (int64_t r = 0; r < tile.rows; ++r) {
        const int64_t query = tile.first + r;
        float* const row = s.p + r * tile.keys;
        const KeyMask keys = mask(in, item, query);
        lse[query] = kernels.attention_softmax(row, tile.keys, shape_.scale, keys);
        if (shape_.keep < 1) {
          kernels.dropout(row, row, keys.limit, shape_.keep, random(in, item, head, query));
        }
      }
      tile.mix->run(s.worker, s.p, s.v, s.mixed, s.product);
      scatter_rows(out.o + offset(out.o_view, b, tile.first, head), out.o_view.position, s.mixed,
                   tile.rows, width);
    }
  }
}

/// From scores in p and do v^T in dp: p becomes the probabilities after dropout, dp the gradient of
/// the scores, p (dp - sum of p dp) scale with both before dropout.
void Attention::backward_rows(const Tile& tile, const Item& item, int64_t head,
                              const AttentionInput& in, const float* lse, const Scratch& s) const {
  const VectorKernels& kernels = vector_kernels();
  for (int64_t r = 0; r < tile.rows; ++r) {
    const int64_t query = tile.first + r;
    float *const p = s.p + r * tile.keys, *const dp = s.dp + r * tile.keys;
    const KeyMask keys = mask(in, item, query);
    kernels.attention_recompute(p, tile.keys, shape_.scale, lse[query], keys);
    if (shape_.keep < 1) {
      kernels.dropout(dp, dp, keys.limit, shape_.keep, random(in, item, head, query));
    }
    const float total = kernels.dot(p, dp, keys.limit);
    kernels.attention_backward(dp, p, dp, total, shape_.scale, tile.keys);
    if (shape_.keep < 1) {
      kernels.dropout(p, p, keys.limit, shape_.keep, random(in, item, head, query));
    }
  }
}

void Attention::backward_item(const Item& item, const AttentionInput& in,
                              const AttentionGradients& gradients, const Scratch& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t width = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  const auto [b, kv] = item;
  gather_rows(s.k, in.k + offset(in.k_view, b, 0, kv), in.k_view.position, shape_.keys, width);
  gather_rows(s.v, in.v + offset(in.v_view, b, 0, kv), in.v_view.position, shape_.keys, width);
  bool begun = false;
  // The last tile sees all keys, so that the first one done can overwrite the sums.
  const auto accumulate = [&](const Tile& tile, const float* left, const float* right, float* sum) {
    tile.spread->run(s.worker, left, right, begun ? s.spread : sum, s.product);
    if (begun) kernels.add_to(sum, s.spread, tile.keys * width);
  };
  for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
    const float* const lse = gradients.lse + (b * shape_.heads + head) * shape_.queries;
    for (size_t index = tiles_.size(); index-- > 0;) {
      const Tile& tile = tiles_[index];
      gather_rows(s.q, in.q + offset(in.q_view, b, tile.first, head), in.q_view.position, tile.rows,
                  width);
      gather_rows(s.d_o, gradients.d_o + offset(gradients.do_view, b, tile.first, head),
                  gradients.do_view.position, tile.rows, width);
      tile.scores->run(s.worker, s.q, s.k, s.p, s.product);
      tile.scores->run(s.worker, s.d_o, s.v, s.dp, s.product);
      backward_rows(tile, item, head, in, lse, s);
      accumulate(tile, s.p, s.d_o, s.dv);
      accumulate(tile, s.dp, s.q, s.dk);
      begun = true;
      tile.mix->run(s.worker, s.dp, s.k, s.mixed, s.product);
      scatter_rows(gradients.dq + offset(gradients.dq_view, b, tile.first, head),
                   gradients.dq_view.position, s.mixed, tile.rows, width);
    }
  }
  scatter_rows(gradients.dk + offset(gradients.dk_view, b, 0, kv), gradients.dk_view.position, s.dk,
               shape_.keys, width);
  scatter_rows(gradients.dv + offset(gradients.dv_view, b, 0, kv), gradients.dv_view.position, s.dv,
               shape_.keys, width);
}

void Attention::forward(ThreadPool& pool, const AttentionInput& in, const AttentionOutput& out,
                        void* scratch) const {
  LEV_CHECK(pass_ == Pass::kForward, "this plan is for the backward pass");
  pool.parallel_for(items(), [&](int64_t index, int worker) {
    forward_item(item(index), in, out, carve(scratch, worker));
  });
}

void Attention::backward(ThreadPool& pool, const AttentionInput& in,
                         const AttentionGradients& gradients, void* scratch) const {
  LEV_CHECK(pass_ == Pass::kBackward, "this plan is for the forward pass");
  pool.parallel_for(items(), [&](int64_t index, int worker) {
    backward_item(item(index), in, gradients, carve(scratch, worker));
  });
}

}  // namespace levanter::cpu
