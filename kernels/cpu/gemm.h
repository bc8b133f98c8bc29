// Matrix products by tiles, any of which any worker may compute.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/threads.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/tile_grid.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {

/// What becomes of what C held before.
enum class Store {
  kOverwrite,
  kAdd,
  kContinue,  ///< each sum's chain begins with it: of pair products alone
};

/// Where the tiles find A and B: as they lie, or packed.
struct Factors {
  const void* a = nullptr;
  const void* b = nullptr;
};

/// A finished piece of C: `values` are dense rows, row r at values + r * columns.
struct Tile {
  int64_t row = 0, column = 0;  ///< of C, where it begins
  int64_t rows = 0, columns = 0;
  float* values = nullptr;
};

/// C[m, n] = or += sum over k of A[m, k] B[k, n], A and B f32 or bf16, by single-threaded oneDNN
/// tile products, or our own: chains, pairs, AMX tiles, few rows. Sums and C are f32. The bits
/// depend on the shape, A's and B's strides and the values only; kAdd gives bit for bit what
/// kOverwrite into another matrix and then one addition give.
///
/// oneDNN always multiplies a tile into dense rows, because its own sum, and its other
/// implementation for rows that are apart, round differently. So it can also be handed on, while
/// it is in the cache, to whatever consumes C (`multiply`).
class Gemm final {
 public:
  /// Compiles the (at most four) tile products; `products` must outlive this. m, n >= 0, k >= 1.
  Gemm(Products& products, const ProductShape& shape, bool small_m = false);

  const ProductShape& shape() const { return shape_; }
  int64_t tiles() const { return grid_.tiles_m * grid_.tiles_n; }
  /// The largest tile's extents.
  const TileGrid& grid() const { return grid_; }

  /// Whether tiles are of what pack() makes; if not, they may be of any factors as they lie.
  bool packs() const { return grid_.owns_b || packed_bytes() > 0; }
  /// What the packed factors take, a multiple of 64 bytes, beside what workers pack for themselves.
  size_t packed_bytes() const { return widened_bytes_ + packed_a_bytes_ + packed_b_bytes_; }
  /// Packs what is to be packed into `packed`, before any tile. It holds run_scratch_bytes of the
  /// pool's workers: what follows is theirs.
  Factors pack(ThreadPool& pool, const Factors& factors, void* packed) const;

  /// Scratch that each worker needs, a multiple of 64.
  size_t scratch_bytes_per_worker() const { return tile_bytes_ + product_bytes_ + own_bytes_; }

  /// Computes one tile, 0 <= index < tiles(), of factors that pack() returned, into `scratch`, this
  /// worker's own, aligned to 64. With `c` the tile lies in C itself where it is dense there.
  Tile multiply(int64_t index, int worker, const Factors& factors, void* scratch,
                float* c = nullptr) const;

  /// One tile to its place in C.
  void run_tile(int64_t index, int worker, const Factors& factors, float* c, Store store,
                void* scratch) const;

  /// All tiles on the pool. `scratch` holds scratch_bytes_per_worker() for each of its workers.
  void run_tiles(ThreadPool& pool, const Factors& factors, float* c, Store store,
                 void* scratch) const;

  /// Packs and runs. `scratch` holds run_scratch_bytes of the pool's workers, aligned to 64.
  void run(ThreadPool& pool, const Factors& factors, float* c, Store store, void* scratch) const;
  /// The same with C in bf16, each sum rounded once.
  void run_rounded(ThreadPool& pool, const Factors& factors, uint16_t* c, void* scratch) const;
  size_t run_scratch_bytes(int workers) const;
  /// Whether it goes by parts of k, each packed when it is multiplied, so that what is packed stays
  /// in the cache until it is read. Then there are no tiles to ask for, only whole products.
  bool in_parts() const { return part_ != nullptr; }

 private:
  Tile compute(int64_t index, int worker, const Factors& factors, void* scratch, float* c,
               Store store = Store::kOverwrite) const;
  Factors widen(ThreadPool& pool, const Factors& factors, void* to) const;
  void transpose_a(void* to, const void* from, int64_t rows) const;
  Factors pack_few(ThreadPool& pool, const Factors& factors, void* packed) const;
  void multiply_few(const Factors& factors, const Tile& tile) const;
  SmallMProduct small_m(const Factors& factors) const;
  void run_few(const SmallMProduct& product) const;
  size_t sums_bytes() const;
  int64_t* own_column(void* scratch) const;
  void run_parts(ThreadPool& pool, const Factors& factors, float* c, void* scratch) const;

  ProductShape shape_;
  ProductShape given_;  ///< of bf16 where shape_ is of f32: both factors are widened first
  TileGrid grid_;
  bool dense_ = false;        ///< every tile of C is dense in C
  bool gaps_ = false;         ///< a tile's rows may be apart in C
  size_t tile_bytes_ = 0;     ///< of a worker's scratch: the tile
  size_t product_bytes_ = 0;  ///< of a worker's scratch: oneDNN's part, or the tile kernel's
  size_t own_bytes_ = 0;      ///< of a worker's scratch: a column of tiles of B, packed
  size_t column_bytes_ = 0;   ///< of one column of tiles of B, packed
  size_t widened_bytes_ = 0, packed_a_bytes_ = 0, packed_b_bytes_ = 0;
  std::array<const Product*, 4> products_{};  ///< by last row of tiles + 2 * last column of tiles
  std::vector<int64_t> parts_;                ///< of k, with a TileKernel
  std::unique_ptr<Gemm> part_, last_part_;    ///< of packed_part of k, and of what remains
};

}  // namespace levanter::cpu
