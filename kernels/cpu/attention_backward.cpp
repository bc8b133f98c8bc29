// The backward pass of attention: an item goes head by head, block by block of keys, and for each
// block tile by tile of the queries that see it.
// Plain twin: src/ops/composite/attention.cpp.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/cpu/attention_scratch.h"

namespace levanter::cpu {
namespace {

void differentiate(float* p, float* ds, const float* scores, const float* dp, const float* lse,
                   const float* delta, const ScoreTile& tile) {
  vector_kernels().attention_backward(p, ds, scores, dp, lse, delta, tile);
}
void differentiate(uint16_t* p, uint16_t* ds, const float* scores, const float* dp,
                   const float* lse, const float* delta, const ScoreTile& tile) {
  vector_kernels().attention_backward_bf16(p, ds, scores, dp, lse, delta, tile);
}

/// y[r] = sum over c of dense[r, c] b[r, c], b's rows `stride` apart.
void dot_rows(float* y, const float* dense, const float* b, int64_t stride, int64_t rows,
              int64_t width) {
  vector_kernels().dot_rows(y, dense, width, b, stride, rows, width);
}
void dot_rows(float* y, const uint16_t* dense, const uint16_t* b, int64_t stride, int64_t rows,
              int64_t width) {
  vector_kernels().dot_rows_bf16(y, dense, width, b, stride, rows, width);
}

}  // namespace

/// One head's queries and cotangents in both orders, with rows of 0 up to whole vectors, whose
/// lse = inf gives them probabilities of 0.
template <class Element>
void Attention::gather_head(const Item& item, int64_t head, const AttentionInput& in,
                            const AttentionGradients& gradients, const Scratch<Element>& s) const {
  const int64_t head_dim = shape_.head_dim, b = item.batch;
  const float* const lse = gradients.lse + (b * shape_.heads + head) * shape_.queries;
  std::fill(s.lse + shape_.queries, s.lse + padded_, INFINITY);
  std::fill(s.delta + shape_.queries, s.delta + padded_, 0.0f);
  const int64_t filled = shape_.queries * head_dim, all = padded_ * head_dim;
  for (Element* const rows : {s.q, s.d_o}) std::fill(rows + filled, rows + all, Element{0});
  gather_rows(s.q, row_of<Element>(in.q, in.q_view, b, 0, head), in.q_view.position, shape_.queries,
              head_dim);
  gather_rows(s.d_o, row_of<Element>(gradients.d_o, gradients.do_view, b, 0, head),
              gradients.do_view.position, shape_.queries, head_dim);
  dot_rows(s.delta, s.d_o, row_of<Element>(gradients.o, gradients.o_view, b, 0, head),
           gradients.o_view.position, shape_.queries, head_dim);
  for (int64_t t = 0; t < shape_.queries; ++t)
    s.lse[t] = lse[t] == -INFINITY ? INFINITY : lse[t];  // no key is seen
  if constexpr (!kIsBf16<Element>) {
    for (const Tile& tile : tiles_) {
      const int64_t at = tile.first * head_dim, width = tile.width;
      transpose(s.q_transposed + at, width, s.q + at, width, head_dim);
      transpose(s.do_transposed + at, width, s.d_o + at, width, head_dim);
    }
  }
  std::fill(s.dq_transposed, s.dq_transposed + all, 0.0f);
}

template <class Element>
void Attention::backward_block(const Item& item, int64_t head, const Tile& tile, int64_t block,
                               const AttentionInput& in, const Scratch<Element>& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t head_dim = shape_.head_dim, queries = tile.first * head_dim;
  const auto [begin, keys] = block_keys(tile.key_begin, tile.key_end, block, block_);
  if (keys == 0) return;
  const BlockProducts& products = blocks_.find(kind(tile, begin, keys))->second;
  const int64_t rows = begin * head_dim;
  const Element* const q = (kIsBf16<Element> ? s.q : s.q_transposed) + queries;
  const Element* const d_o = (kIsBf16<Element> ? s.d_o : s.do_transposed) + queries;
  run_pieces(products.scores, s.k + rows, q, s.scores, s);
  run_pieces(products.scores, s.v + rows, d_o, s.d_p, s);
  differentiate(s.p, s.d_s, s.scores, s.d_p, s.lse + tile.first, s.delta + tile.first,
                score_tile(in, item, head, tile, begin, begin + keys, s.segments));
  run_pieces(products.spread, s.p, s.d_o + queries, s.mixed, s);
  kernels.add_to(s.dv + rows, s.mixed, keys * head_dim);
  run_pieces(products.spread, s.d_s, s.q + queries, s.mixed, s);
  kernels.add_to(s.dk + rows, s.mixed, keys * head_dim);
  const Element* const k_transposed = s.k_transposed + block * head_dim + (begin - block);
  run_pieces(products.mix, k_transposed, s.d_s, s.mixed, s);
  kernels.add_to(s.dq_transposed + queries, s.mixed, tile.width * head_dim);
}

template <class Element>
void Attention::backward_item(const Item& item, const AttentionInput& in,
                              const AttentionGradients& gradients,
                              const Scratch<Element>& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t head_dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  const auto [b, kv] = item;
  gather_rows(s.k, row_of<Element>(in.k, in.k_view, b, 0, kv), in.k_view.position, shape_.keys,
              head_dim);
  gather_rows(s.v, row_of<Element>(in.v, in.v_view, b, 0, kv), in.v_view.position, shape_.keys,
              head_dim);
  pad_segments(in, item, s.segments);
  for (int64_t block = 0; block < shape_.keys; block += block_) {
    transpose(s.k_transposed + block * head_dim, block_, s.k + block * head_dim,
              std::min(block_, shape_.keys - block), head_dim);
  }
  for (float* const sum : {s.dk, s.dv}) std::fill_n(sum, shape_.keys * head_dim, 0.0f);
  std::fill_n(s.factor, tiles_.front().width, shape_.scale);
  for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
    gather_head(item, head, in, gradients, s);
    for (int64_t block = 0; block < shape_.keys; block += block_) {
      for (const Tile& tile : tiles_) backward_block(item, head, tile, block, in, s);
    }
    for (const Tile& tile : tiles_) {
      kernels.transpose(s.rows, head_dim, s.dq_transposed + tile.first * head_dim, tile.width,
                        head_dim, tile.rows, s.factor);
      scatter_rows(row_of<Element>(gradients.dq, gradients.dq_view, b, tile.first, head),
                   gradients.dq_view.position, s.rows, tile.rows, head_dim);
    }
  }
  const int64_t all = shape_.keys * head_dim;
  kernels.scale(s.dk, s.dk, shape_.scale, all);
  if (shape_.keep < 1) kernels.scale(s.dv, s.dv, 1 / shape_.keep, all);
  scatter_rows(row_of<Element>(gradients.dk, gradients.dk_view, b, 0, kv),
               gradients.dk_view.position, s.dk, shape_.keys, head_dim);
  scatter_rows(row_of<Element>(gradients.dv, gradients.dv_view, b, 0, kv),
               gradients.dv_view.position, s.dv, shape_.keys, head_dim);
}

void Attention::backward(ThreadPool& pool, const AttentionInput& in,
                         const AttentionGradients& gradients, void* scratch) const {
  LEV_CHECK(pass_ == Pass::kBackward, "this plan is for the forward pass");
  pool.parallel_for(items(), [&](int64_t index, int worker) {
    if (shape_.dtype == DType::bf16) {
      backward_item(item(index), in, gradients, carve<uint16_t>(scratch, worker));
    } else {
      backward_item(item(index), in, gradients, carve<float>(scratch, worker));
    }
  });
}

}  // namespace levanter::cpu
