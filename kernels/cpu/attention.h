// Attention and its gradients from tile products, with scores transposed: rows of keys, columns of
// queries. Vaswani et al. 2017, arXiv:1706.03762; the backward pass recomputes the probabilities as
// in Dao et al. 2022, arXiv:2205.14135.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/threads.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/vector.h"
#include "kernels/shared/attention_shape.h"

namespace levanter::cpu {

using kernels::AttentionShape;
using kernels::AttentionView;

/// Arrays of the forward pass, of the shape's type where no other is said. As bf16 they are factors
/// as they lie, and p and ds are rounded to bf16 for the second products; scores, sums and what is
/// accumulated are f32, and results are rounded once. segment_ids is [batch, keys] or nullptr; with
/// it the numbers of queries and keys are equal and both see only their own segment. dropout_keys
/// is [batch][2] (upper word first) where keep < 1; inside a row the counter is the index over
/// [heads, queries, keys].
struct AttentionInput {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  AttentionView q_view, k_view, v_view;
  const int32_t* segment_ids = nullptr;
  const uint32_t* dropout_keys = nullptr;
};
struct AttentionOutput {
  void* o = nullptr;
  AttentionView o_view;
  float* lse = nullptr;  ///< f32 [batch, heads, queries], the log of the sum of exponentials
};

/// What is found of each query, f32 [batch, heads, queries]: see attention_statistics in ops.h.
struct AttentionRows {
  float *entropy = nullptr, *largest = nullptr;
};

/// Arrays of the backward pass besides those of the forward pass.
struct AttentionGradients {
  const void* o = nullptr;
  const float* lse = nullptr;
  const void* d_o = nullptr;
  AttentionView o_view, do_view;
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;
  AttentionView dq_view, dk_view, dv_view;
};

/// The compiled products and the plan of both passes. Work items are (batch row, kv head); an
/// item's result does not depend on which worker runs it, so neither does anything else.
class Attention final {
 public:
  enum class Pass { kForward, kBackward };

  /// Compiles the products of one pass; `products` must outlive this.
  Attention(Products& products, const AttentionShape& shape, Pass pass);

  /// Scratch that each worker needs, a multiple of 64; linear in the numbers of queries and keys.
  size_t scratch_bytes_per_worker() const { return scratch_bytes_; }
  int64_t items() const { return shape_.batch * shape_.kv_heads; }

  /// All items on the pool. `scratch` holds scratch_bytes_per_worker() for each worker, aligned
  /// to 64.
  void forward(ThreadPool& pool, const AttentionInput& in, const AttentionOutput& out,
               void* scratch) const;
  /// With the forward pass's plan; v is not read, and nothing is dropped.
  void statistics(ThreadPool& pool, const AttentionInput& in, const AttentionRows& out,
                  void* scratch) const;
  void backward(ThreadPool& pool, const AttentionInput& in, const AttentionGradients& gradients,
                void* scratch) const;

 private:
  /// A part of a product whose other parts are not read, or are of zeros: the first elements of its
  /// factors and of its result among those of the whole.
  struct Piece {
    const Product* product = nullptr;
    int64_t a = 0, b = 0, c = 0;
  };
  using Pieces = std::vector<Piece>;
  /// A tile of queries with the keys that any of them sees.
  struct Tile {
    int64_t first = 0, rows = 0;
    int64_t width = 0;  ///< rows, rounded up to whole vectors
    int64_t key_begin = 0, key_end = 0;
    Pieces scores;  ///< k q^T: [keys, width]; of the forward pass
    Pieces mix;     ///< v^T p^T: [head_dim, width]; of the forward pass
  };
  /// The products of some keys of a block with a tile of queries.
  struct BlockProducts {
    Pieces scores;  ///< k q^T and v do^T: [keys, width]
    Pieces spread;  ///< p^T do and ds^T q: [keys, head_dim]
    Pieces mix;     ///< k^T ds^T: [head_dim, width]
  };
  template <class Element>
  struct Scratch;
  struct Item;

  void plan_tiles(Products& products);
  void plan_blocks(Products& products);
  Piece piece(Products& products, ProductShape shape, int64_t a, int64_t b, int64_t c);
  /// The product of rows [m, head_dim] and a tile of queries or cotangents.
  ProductShape scores_shape(int64_t m, int64_t width) const;
  /// Columns of a tile from `first` on, of which the rows up to `begin` are seen by earlier ones
  /// too, and none from `end` on by these.
  struct Step {
    int64_t first, columns, begin, end;
  };
  std::vector<Step> steps(const Products& products, int64_t keys, int64_t width,
                          int64_t diagonal) const;
  Pieces scores_pieces(Products& products, int64_t keys, int64_t width, int64_t diagonal);
  Pieces spread_pieces(Products& products, int64_t keys, int64_t width, int64_t diagonal);
  /// `row`: between the rows of the first factor.
  Pieces mix_pieces(Products& products, int64_t keys, int64_t width, int64_t diagonal, int64_t row);
  template <class Element>
  static void run_pieces(const Pieces& pieces, const Element* a, const Element* b, float* c,
                         const Scratch<Element>& s);
  /// Row 0 of keys from `key_begin` on is seen by the columns from -diagonal on.
  int64_t diagonal(const Tile& tile, int64_t key_begin) const;
  /// What the products of some keys depend on: their number, the tile's width, and the diagonal, or
  /// the number of keys where all columns see all.
  std::array<int64_t, 3> kind(const Tile& tile, int64_t key_begin, int64_t keys) const;
  template <class Element>
  Scratch<Element> carve(void* scratch, int worker) const;
  Item item(int64_t index) const;
  ScoreTile score_tile(const AttentionInput& in, const Item& item, int64_t head, const Tile& tile,
                       int64_t key_begin, int64_t key_end, const int32_t* segments) const;
  void pad_segments(const AttentionInput& in, const Item& item, int32_t* segments) const;
  /// The products q.k of a tile, in scratch.scores; the item's keys are in scratch.k.
  template <class Element>
  void fill_scores(const Item& item, int64_t head, const Tile& tile, const AttentionInput& in,
                   const Scratch<Element>& scratch) const;
  template <class Element>
  void statistics_item(const Item& item, const AttentionInput& in, const AttentionRows& out,
                       const Scratch<Element>& scratch) const;
  template <class Element>
  void forward_item(const Item& item, const AttentionInput& in, const AttentionOutput& out,
                    const Scratch<Element>& scratch) const;
  template <class Element>
  void backward_item(const Item& item, const AttentionInput& in,
                     const AttentionGradients& gradients, const Scratch<Element>& scratch) const;
  template <class Element>
  void gather_head(const Item& item, int64_t head, const AttentionInput& in,
                   const AttentionGradients& gradients, const Scratch<Element>& scratch) const;
  template <class Element>
  void backward_block(const Item& item, int64_t head, const Tile& tile, int64_t block,
                      const AttentionInput& in, const Scratch<Element>& scratch) const;

  AttentionShape shape_;
  Pass pass_;
  int64_t block_ = 0;        ///< keys of a block of the backward pass
  int64_t padded_ = 0;       ///< the tiles' widths in all
  int64_t most_keys_ = 0;    ///< that a tile of the forward pass sees
  std::vector<Tile> tiles_;  ///< of queries
  std::map<std::array<int64_t, 3>, BlockProducts> blocks_;  ///< by kind()
  size_t scratch_bytes_ = 0, product_bytes_ = 0;
};

}  // namespace levanter::cpu
