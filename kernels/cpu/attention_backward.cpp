// The backward pass of attention: an item goes head by head, block by block of keys, and for each
// block tile by tile of the queries that see it.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/attention_scratch.h"

namespace levanter::cpu {
/// One head's queries and cotangents in both orders, with rows of 0 up to whole vectors, whose
/// lse = inf gives them probabilities of 0.
void Attention::gather_head(const Item& item, int64_t head, const AttentionInput& in,
                            const AttentionGradients& gradients, const Scratch& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t head_dim = shape_.head_dim, b = item.batch;
  const float* const lse = gradients.lse + (b * shape_.heads + head) * shape_.queries;
  std::fill(s.lse + shape_.queries, s.lse + padded_, INFINITY);
  std::fill(s.delta + shape_.queries, s.delta + padded_, 0.0f);
  const int64_t filled = shape_.queries * head_dim, all = padded_ * head_dim;
  for (float* const rows : {s.q, s.d_o}) std::fill(rows + filled, rows + all, 0.0f);
  gather_rows(s.q, in.q + offset(in.q_view, b, 0, head), in.q_view.position, shape_.queries,
              head_dim);
  gather_rows(s.d_o, gradients.d_o + offset(gradients.do_view, b, 0, head),
              gradients.do_view.position, shape_.queries, head_dim);
  for (int64_t t = 0; t < shape_.queries; ++t) {
    const float* const o = gradients.o + offset(gradients.o_view, b, t, head);
    if (t + kRowsAhead < shape_.queries) {
      ask_for(o + kRowsAhead * gradients.o_view.position, head_dim);
    }
    s.lse[t] = lse[t] == -INFINITY ? INFINITY : lse[t];  // no key is seen
    s.delta[t] = kernels.dot(s.d_o + t * head_dim, o, head_dim);
  }
  for (const Tile& tile : tiles_) {
    const int64_t at = tile.first * head_dim, width = tile.width;
    kernels.transpose(s.q_turned + at, width, s.q + at, head_dim, width, head_dim, nullptr);
    kernels.transpose(s.do_turned + at, width, s.d_o + at, head_dim, width, head_dim, nullptr);
  }
  std::fill(s.dq_turned, s.dq_turned + all, 0.0f);
}

void Attention::backward_block(const Item& item, int64_t head, const Tile& tile, int64_t block,
                               const AttentionInput& in, const Scratch& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t head_dim = shape_.head_dim, queries = tile.first * head_dim;
  const auto [begin, keys] = block_keys(tile.key_begin, tile.key_end, block, block_);
  if (keys == 0) return;
  const BlockProducts& products = blocks_.find({keys, tile.width})->second;
  const int64_t rows = begin * head_dim;
  products.scores->run(s.worker, s.k + rows, s.q_turned + queries, s.p, s.product);
  products.scores->run(s.worker, s.v + rows, s.do_turned + queries, s.dp, s.product);
  kernels.attention_backward(s.p, s.dp, s.lse + tile.first, s.delta + tile.first,
                             score_tile(in, item, head, tile, begin, begin + keys, s));
  products.spread->run(s.worker, s.p, s.d_o + queries, s.mixed, s.product);
  kernels.add_to(s.dv + rows, s.mixed, keys * head_dim);
  products.spread->run(s.worker, s.dp, s.q + queries, s.mixed, s.product);
  kernels.add_to(s.dk + rows, s.mixed, keys * head_dim);
  const float* const k_turned = s.k_turned + block * head_dim + (begin - block);
  products.mix->run(s.worker, k_turned, s.dp, s.mixed, s.product);
  kernels.add_to(s.dq_turned + queries, s.mixed, tile.width * head_dim);
}

void Attention::backward_item(const Item& item, const AttentionInput& in,
                              const AttentionGradients& gradients, const Scratch& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t head_dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  const auto [b, kv] = item;
  gather_rows(s.k, in.k + offset(in.k_view, b, 0, kv), in.k_view.position, shape_.keys, head_dim);
  gather_rows(s.v, in.v + offset(in.v_view, b, 0, kv), in.v_view.position, shape_.keys, head_dim);
  pad_segments(in, item, s);
  for (int64_t block = 0; block < shape_.keys; block += block_) {
    kernels.transpose(s.k_turned + block * head_dim, block_, s.k + block * head_dim, head_dim,
                      std::min(block_, shape_.keys - block), head_dim, nullptr);
  }
  for (float* const sum : {s.dk, s.dv}) std::fill_n(sum, shape_.keys * head_dim, 0.0f);
  std::fill_n(s.factor, tiles_.front().width, shape_.scale);
  for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
    gather_head(item, head, in, gradients, s);
    for (int64_t block = 0; block < shape_.keys; block += block_) {
      for (const Tile& tile : tiles_) backward_block(item, head, tile, block, in, s);
    }
    for (const Tile& tile : tiles_) {
      kernels.transpose(s.mixed, head_dim, s.dq_turned + tile.first * head_dim, tile.width,
                        head_dim, tile.rows, s.factor);
      scatter_rows(gradients.dq + offset(gradients.dq_view, b, tile.first, head),
                   gradients.dq_view.position, s.mixed, tile.rows, head_dim);
    }
  }
  const int64_t all = shape_.keys * head_dim;
  kernels.scale(s.dk, s.dk, shape_.scale, all);
  if (shape_.keep < 1) kernels.scale(s.dv, s.dv, 1 / shape_.keep, all);
  scatter_rows(gradients.dk + offset(gradients.dk_view, b, 0, kv), gradients.dk_view.position, s.dk,
               shape_.keys, head_dim);
  scatter_rows(gradients.dv + offset(gradients.dv_view, b, 0, kv), gradients.dv_view.position, s.dv,
               shape_.keys, head_dim);
}

}  // namespace levanter::cpu
