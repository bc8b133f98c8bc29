// Matrix products cut into tiles by shape alone, so that any worker may compute any tile.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/threads.h"
#include "kernels/cpu/onednn.h"

namespace levanter::cpu {

/// What becomes of what C held before.
enum class Store { kOverwrite, kAdd };

/// How a product's result is cut: a grid of tiles of tile_m x tile_n, the last ones smaller, each
/// over the whole of k. A function of the extents and of B's order only, never of threads or the
/// machine.
struct TileGrid {
  int64_t tile_m = 0, tile_n = 0;
  int64_t tiles_m = 0, tiles_n = 0;
};
TileGrid tile_grid(const ProductShape& shape);

/// C[m, n] = or += sum over k of A[m, k] B[k, n] in f32, by single-threaded oneDNN tile products.
/// The bits depend on the shape, A's and B's strides and the values only; kAdd gives bit for bit
/// what kOverwrite into another matrix and then one addition give.
///
/// A tile is always multiplied into dense rows, because oneDNN's own sum, and its other
/// implementation for rows that are apart, round differently: tiles that are not dense in C, or
/// that add, go through scratch.
class Gemm final {
 public:
  /// Compiles the (at most four) tile products; `products` must outlive this. m, n >= 0, k >= 1.
  Gemm(Products& products, const ProductShape& shape, Store store);

  const ProductShape& shape() const { return shape_; }
  int64_t tiles() const { return grid_.tiles_m * grid_.tiles_n; }
  /// Scratch that each worker needs, a multiple of 64.
  size_t scratch_bytes_per_worker() const { return tile_bytes_ + product_bytes_; }

  /// One tile, 0 <= index < tiles(). `scratch` is this worker's own, aligned to 64.
  void run_tile(int64_t index, int worker, const float* a, const float* b, float* c,
                void* scratch) const;

  /// All tiles on the pool, which has at most the products' workers. `scratch` holds
  /// scratch_bytes_per_worker() for each worker of the pool.
  void run(ThreadPool& pool, const float* a, const float* b, float* c, void* scratch) const;

 private:
  ProductShape shape_;
  Store store_;
  TileGrid grid_;
  bool direct_ = false;                       ///< tiles are written straight into C
  size_t tile_bytes_ = 0;                     ///< of a worker's scratch: the tile
  size_t product_bytes_ = 0;                  ///< of a worker's scratch: oneDNN's part
  std::array<const Product*, 4> products_{};  ///< by last row of tiles + 2 * last column of tiles
};

}  // namespace levanter::cpu
