// The plan of both passes of attention, and the forward pass: an item copies its keys and values
// together, then goes tile by tile of queries.
// Plain twin: src/ops/composite/attention.cpp.
#include "kernels/cpu/attention.h"

#include <algorithm>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cpu/attention_scratch.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kLanes = 16;         ///< columns of a tile come in whole vectors
constexpr int64_t kQueryTile = 64;     ///< queries that share a tile
constexpr int64_t kKeyBlock = 256;     ///< keys of a block of the backward pass
constexpr int64_t kDiagonalStep = 32;  ///< queries that leave out the same later keys
constexpr int64_t kWindowStep = 64;  ///< the first key of a tile under a window, rounded down to it

}  // namespace

Attention::Attention(Products& products, const AttentionShape& shape, Pass pass)
    : shape_(shape), pass_(pass) {
  LEV_CHECK(shape.kv_heads >= 1 && shape.heads % shape.kv_heads == 0,
            "query heads are a multiple of kv heads");
  LEV_CHECK(
      shape.queries >= 1 && shape.keys >= (shape.causal ? shape.queries : 1) && shape.head_dim >= 1,
      "attention needs positions and head_dim");
  LEV_CHECK(shape.window == 0 || shape.causal, "a window is of causal attention");
  block_ = std::min(kKeyBlock, shape.keys);
  plan_tiles(products);
  if (pass == Pass::kBackward) plan_blocks(products);
  LEV_CHECK(shape.dtype == DType::f32 || shape.dtype == DType::bf16, "attention of f32 or bf16");
  const void* const end = shape.dtype == DType::f32 ? carve<float>(nullptr, 0).product
                                                    : carve<uint16_t>(nullptr, 0).product;
  const auto used = reinterpret_cast<std::uintptr_t>(end);
  scratch_bytes_ = static_cast<size_t>(used) + product_bytes_;
}

ProductShape Attention::scores_shape(int64_t m, int64_t width) const {
  const int64_t head_dim = shape_.head_dim;
  if (shape_.dtype == DType::bf16) return {m, width, head_dim, head_dim, 1, 1, head_dim, width};
  return {m, width, head_dim, head_dim, 1, width, 1, width};
}

Attention::Piece Attention::piece(Products& products, ProductShape shape, int64_t a, int64_t b,
                                  int64_t c) {
  shape.factors = shape_.dtype;
  const Product& made = products.get(shape);
  product_bytes_ = std::max(product_bytes_, made.scratch_bytes());
  return {&made, a, b, c};
}

int64_t Attention::diagonal(const Tile& tile, int64_t key_begin) const {
  return tile.first + shape_.keys - shape_.queries - key_begin;
}

std::array<int64_t, 3> Attention::kind(const Tile& tile, int64_t key_begin, int64_t keys) const {
  return {keys, tile.width, shape_.causal ? std::min(keys, diagonal(tile, key_begin)) : keys};
}

/// All columns as one step where nothing is to be left out, or calls cost more than that.
std::vector<Attention::Step> Attention::steps(const Products& products, int64_t keys, int64_t width,
                                              int64_t diagonal) const {
  ProductShape shape = scores_shape(keys, width);
  shape.factors = shape_.dtype;
  const bool quick = is_chain_product(shape) || products.makes_pairs(shape);
  if (!quick || diagonal < 0) return {{0, width, 0, keys}};
  std::vector<Step> all;
  for (int64_t first = 0, begin = 0; first < width && begin < keys; first += kDiagonalStep) {
    const int64_t end = std::min(keys, diagonal + first + kDiagonalStep);
    const int64_t columns = end == keys ? width - first : kDiagonalStep;
    all.push_back({first, columns, begin, end});
    begin = end;
  }
  return all;
}

Attention::Pieces Attention::scores_pieces(Products& products, int64_t keys, int64_t width,
                                           int64_t diagonal) {
  Pieces pieces;
  for (const Step& step : steps(products, keys, width, diagonal)) {
    ProductShape shape = scores_shape(step.end - step.begin, width);
    shape.n = width - step.first;
    pieces.push_back(piece(products, shape, step.begin * shape.a_row, step.first * shape.b_col,
                           step.begin * width + step.first));
  }
  return pieces;
}

Attention::Pieces Attention::spread_pieces(Products& products, int64_t keys, int64_t width,
                                           int64_t diagonal) {
  const int64_t head_dim = shape_.head_dim;
  Pieces pieces;
  for (const Step& step : steps(products, keys, width, diagonal))
    pieces.push_back(piece(
        products,
        {step.end - step.begin, head_dim, width - step.first, width, 1, head_dim, 1, head_dim},
        step.begin * width + step.first, step.first * head_dim, step.begin * head_dim));
  return pieces;
}

Attention::Pieces Attention::mix_pieces(Products& products, int64_t keys, int64_t width,
                                        int64_t diagonal, int64_t row) {
  Pieces pieces;
  for (const Step& step : steps(products, keys, width, diagonal))
    pieces.push_back(piece(products,
                           {shape_.head_dim, step.columns, step.end, row, 1, width, 1, width}, 0,
                           step.first, step.first));
  return pieces;
}

void Attention::plan_tiles(Products& products) {
  const int64_t ahead = shape_.keys - shape_.queries;
  for (int64_t first = 0; first < shape_.queries; first += kQueryTile) {
    Tile tile;
    tile.first = first;
    tile.rows = std::min(kQueryTile, shape_.queries - first);
    tile.width = round_up(tile.rows, kLanes);
    tile.key_end = shape_.causal ? first + tile.rows + ahead : shape_.keys;
    if (shape_.window > 0) {
      const int64_t oldest = std::max<int64_t>(0, first + ahead - shape_.window + 1);
      tile.key_begin = oldest / kWindowStep * kWindowStep;
    }
    const int64_t keys = tile.key_end - tile.key_begin, width = tile.width;
    padded_ += width;
    most_keys_ = std::max(most_keys_, keys);
    if (pass_ == Pass::kForward) {
      const int64_t at = kind(tile, tile.key_begin, keys)[2];
      tile.scores = scores_pieces(products, keys, width, at);
      tile.mix = mix_pieces(products, keys, width, at, shape_.keys);
    }
    tiles_.push_back(tile);
  }
}

void Attention::plan_blocks(Products& products) {
  for (const Tile& tile : tiles_) {
    for (int64_t first = 0; first < shape_.keys; first += block_) {
      const auto [begin, keys] = block_keys(tile.key_begin, tile.key_end, first, block_);
      if (keys == 0) continue;
      const std::array<int64_t, 3> by = kind(tile, begin, keys);
      const int64_t width = tile.width, at = by[2];
      BlockProducts& made = blocks_[by];
      if (!made.scores.empty()) continue;
      made.scores = scores_pieces(products, keys, width, at);
      made.spread = spread_pieces(products, keys, width, at);
      made.mix = mix_pieces(products, keys, width, at, block_);
    }
  }
}

Attention::Item Attention::item(int64_t index) const {
  return {index / shape_.kv_heads, index % shape_.kv_heads};
}

void Attention::pad_segments(const AttentionInput& in, const Item& item, int32_t* segments) const {
  if (in.segment_ids == nullptr) return;
  const int32_t* const ids = in.segment_ids + item.batch * shape_.keys;
  std::copy(ids, ids + shape_.queries, segments);
  std::fill(segments + shape_.queries, segments + padded_, 0);
}

ScoreTile Attention::score_tile(const AttentionInput& in, const Item& item, int64_t head,
                                const Tile& tile, int64_t key_begin, int64_t key_end,
                                const int32_t* segments) const {
  ScoreTile scores;
  scores.keys = key_end - key_begin;
  scores.queries = tile.width;
  scores.scale = shape_.scale;
  scores.soft_cap = shape_.soft_cap;
  if (shape_.causal) scores.diagonal = diagonal(tile, key_begin);
  if (shape_.window > 0) scores.window = shape_.window;
  if (in.segment_ids != nullptr) {
    scores.key_segments = in.segment_ids + item.batch * shape_.keys + key_begin;
    scores.query_segments = segments + tile.first;
  }
  if (shape_.keep < 1) {
    const uint32_t* const key = in.dropout_keys + 2 * item.batch;
    const int64_t first = (head * shape_.queries + tile.first) * shape_.keys + key_begin;
    scores.keep = shape_.keep;
    scores.random = {key[0], key[1], static_cast<uint64_t>(first)};
    scores.counters = static_cast<uint32_t>(shape_.keys);
  }
  return scores;
}

namespace {

void soften(float* p, float* scores, float* norm, float* lse, const ScoreTile& tile) {
  vector_kernels().attention_softmax(p, scores, norm, lse, tile);
}
void soften(uint16_t* p, float* scores, float* norm, float* lse, const ScoreTile& tile) {
  vector_kernels().attention_softmax_bf16(p, scores, norm, lse, tile);
}

}  // namespace

template <class Element>
void Attention::fill_scores(const Item& item, int64_t head, const Tile& tile,
                            const AttentionInput& in, const Scratch<Element>& s) const {
  const int64_t head_dim = shape_.head_dim, width = tile.width;
  gather_rows(s.q, row_of<Element>(in.q, in.q_view, item.batch, tile.first, head),
              in.q_view.position, tile.rows, head_dim);
  std::fill(s.q + tile.rows * head_dim, s.q + width * head_dim, Element{0});
  if constexpr (!kIsBf16<Element>) transpose(s.q_transposed, width, s.q, width, head_dim);
  run_pieces(tile.scores, s.k + tile.key_begin * head_dim, kIsBf16<Element> ? s.q : s.q_transposed,
             s.scores, s);
}

template <class Element>
void Attention::forward_item(const Item& item, const AttentionInput& in, const AttentionOutput& out,
                             const Scratch<Element>& s) const {
  const VectorKernels& kernels = vector_kernels();
  const int64_t head_dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  const auto [b, kv] = item;
  gather_rows(s.k, row_of<Element>(in.v, in.v_view, b, 0, kv), in.v_view.position, shape_.keys,
              head_dim);
  transpose(s.v_transposed, shape_.keys, s.k, shape_.keys, head_dim);
  gather_rows(s.k, row_of<Element>(in.k, in.k_view, b, 0, kv), in.k_view.position, shape_.keys,
              head_dim);
  pad_segments(in, item, s.segments);
  for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
    float* const lse = out.lse + (b * shape_.heads + head) * shape_.queries;
    for (const Tile& tile : tiles_) {
      const int64_t width = tile.width;
      fill_scores(item, head, tile, in, s);
      soften(s.p, s.scores, s.factor, s.lse,
             score_tile(in, item, head, tile, tile.key_begin, tile.key_end, s.segments));
      run_pieces(tile.mix, s.v_transposed + tile.key_begin, s.p, s.mixed, s);
      kernels.transpose(s.rows, head_dim, s.mixed, width, head_dim, tile.rows, s.factor);
      scatter_rows(row_of<Element>(out.o, out.o_view, b, tile.first, head), out.o_view.position,
                   s.rows, tile.rows, head_dim);
      std::copy(s.lse, s.lse + tile.rows, lse + tile.first);
    }
  }
}

void Attention::forward(ThreadPool& pool, const AttentionInput& in, const AttentionOutput& out,
                        void* scratch) const {
  LEV_CHECK(pass_ == Pass::kForward, "this plan is for the backward pass");
  pool.parallel_for(items(), [&](int64_t index, int worker) {
    if (shape_.dtype == DType::bf16) {
      forward_item(item(index), in, out, carve<uint16_t>(scratch, worker));
    } else {
      forward_item(item(index), in, out, carve<float>(scratch, worker));
    }
  });
}

template <class Element>
void Attention::statistics_item(const Item& item, const AttentionInput& in,
                                const AttentionRows& out, const Scratch<Element>& s) const {
  const int64_t group = shape_.heads / shape_.kv_heads;
  const auto [b, kv] = item;
  gather_rows(s.k, row_of<Element>(in.k, in.k_view, b, 0, kv), in.k_view.position, shape_.keys,
              shape_.head_dim);
  pad_segments(in, item, s.segments);
  for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
    const int64_t first = (b * shape_.heads + head) * shape_.queries;
    for (const Tile& tile : tiles_) {
      fill_scores(item, head, tile, in, s);
      vector_kernels().attention_statistics(
          s.lse, s.factor, s.scores,
          score_tile(in, item, head, tile, tile.key_begin, tile.key_end, s.segments));
      std::copy_n(s.lse, tile.rows, out.entropy + first + tile.first);
      std::copy_n(s.factor, tile.rows, out.largest + first + tile.first);
    }
  }
}

void Attention::statistics(ThreadPool& pool, const AttentionInput& in, const AttentionRows& out,
                           void* scratch) const {
  LEV_CHECK(pass_ == Pass::kForward, "this plan is for the backward pass");
  pool.parallel_for(items(), [&](int64_t index, int worker) {
    if (shape_.dtype == DType::bf16) {
      statistics_item(item(index), in, out, carve<uint16_t>(scratch, worker));
    } else {
      statistics_item(item(index), in, out, carve<float>(scratch, worker));
    }
  });
}

}  // namespace levanter::cpu
