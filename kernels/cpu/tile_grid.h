// How products are cut into tiles: by shape alone, so that no bit depends on threads.
#pragma once

#include <cstdint>

#include "kernels/cpu/onednn.h"

namespace levanter::cpu {

/// How a product's result is cut: a grid of tiles of tile_m x tile_n, the last ones smaller, each
/// over the whole of k. A function of the product's shape only: extents, type, how A and B lie;
/// never of threads.
struct TileGrid {
  int64_t tile_m = 0, tile_n = 0;
  int64_t tiles_m = 0, tiles_n = 0;
  bool packs_a = false;  ///< A lies transposed and is transposed back first
  bool packs_b = false;  ///< B is packed first; both make every tile quicker by more than they cost
  bool owns_b = false;   ///< each worker packs the part of B that its tiles read
  bool turns_b = false;  ///< B lies transposed and is transposed back first, for chain products
  bool small_m = false;  ///< by the vector kernels that read B once, not by oneDNN
  /// With small_m: B's rows of a part of k, all of them long, which are multiplied first, so that
  /// each part is one run of memory; a tile then adds the parts up, in order. 0: tiles do it all.
  int64_t part_k = 0;
  bool pairs = false;       ///< tiles are products by pairs
  int64_t packed_part = 0;  ///< of k, with pairs: parts are packed one by one, to stay in the cache
  TileKernel tile_kernel = nullptr;  ///< not by oneDNN; both factors are packed into panels first
};
/// `small_m`: whether few rows are a case of their own. `tile_kernel`: what multiplies the large
/// products of bf16 that are worth it and of which oneDNN's tiles have the same bits; null for
/// nothing. `pairs`: whether the product is one by pairs.
TileGrid tile_grid(const ProductShape& shape, bool small_m = false,
                   TileKernel tile_kernel = nullptr, bool pairs = false);

/// Rows up to which a product costs what reading B costs. Within them a row's bits do not depend on
/// the other rows, nor on how many there are.
inline constexpr int64_t kSmallM = 16;

/// Whether B's columns, and not its rows, are without gaps.
bool has_dense_columns(const ProductShape& shape);

/// Whether both factors of a whole product of bf16 are widened before any tile: those of which
/// tiles are then chain products, so that each sum has the bits that parts would give it.
bool widens_at_once(const ProductShape& shape, bool small_m);

}  // namespace levanter::cpu
