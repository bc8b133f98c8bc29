// The tile grid, chosen from measurements over the shapes of small and medium transformers.
#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kWantedTiles = 24;   ///< three for each of eight workers
constexpr int64_t kEnoughTiles = 8;    ///< with fewer, and work enough, columns are cut too
constexpr double kTileWork = 3e6;      ///< at least this many operations in a tile: about 25 us
constexpr int64_t kReadWork = 16;      ///< reading an element of B costs about 16 multiply-adds
constexpr int64_t kTallestTile = 256;  ///< rows; taller tiles leave the second-level cache
constexpr int64_t kShortestPack = 96;  ///< rows, where B's columns must be transposed for each tile
constexpr int64_t kShortestWide = 64;  ///< rows, otherwise
constexpr int64_t kShortest = 32;      ///< rows, where a tile is narrow
constexpr int64_t kNarrow = 256;       ///< columns
constexpr int64_t kWidestDense =
    4096;  ///< columns; narrower results are cut by rows, if that is enough
constexpr int64_t kWidestTile = 384;  ///< columns of wider results
constexpr int64_t kNarrowestTile = 128;
constexpr int64_t kColumnStep = 64, kRowStep = 16;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The size of parts when `extent` is cut into parts no larger than `largest`, multiples of `step`.
int64_t even_part(int64_t extent, int64_t largest, int64_t step) {
  const int64_t parts = divide_up(extent, largest);
  return std::min(extent, divide_up(divide_up(extent, parts), step) * step);
}

size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

TileGrid tile_grid(const ProductShape& shape) {
  const int64_t m = shape.m, n = shape.n;
  TileGrid grid;
  if (m == 0 || n == 0) return grid;
  const bool packs = shape.b_col != 1 && n > 1;
  const int64_t shortest = packs ? kShortestPack : n > kNarrow ? kShortestWide : kShortest;
  const double work = 2.0 * static_cast<double>(n) * static_cast<double>(shape.k) *
                      static_cast<double>(m + kReadWork);
  const int64_t wanted =
      std::clamp<int64_t>(static_cast<int64_t>(work / kTileWork), 1, kWantedTiles);
  int64_t columns = n > kWidestDense ? divide_up(n, kWidestTile) : 1;
  const int64_t rows = divide_up(m, divide_up(wanted, columns));
  grid.tile_m = even_part(m, std::clamp(rows, shortest, kTallestTile), kRowStep);
  grid.tiles_m = divide_up(m, grid.tile_m);
  const int64_t enough = std::min(wanted, kEnoughTiles);
  columns = std::max(columns, divide_up(enough, grid.tiles_m));
  grid.tile_n =
      columns == 1 ? n : even_part(n, std::max(divide_up(n, columns), kNarrowestTile), kColumnStep);
  grid.tiles_n = divide_up(n, grid.tile_n);
  return grid;
}

Gemm::Gemm(Products& products, const ProductShape& shape, Store store)
    : shape_(shape), store_(store), grid_(tile_grid(shape)) {
  LEV_CHECK(shape.k >= 1, "a product needs k >= 1");
  if (tiles() == 0) return;
  direct_ = store == Store::kOverwrite && grid_.tiles_n == 1 && shape.c_row == shape.n;
  if (!direct_) {
    tile_bytes_ = round_up(sizeof(float) * static_cast<size_t>(grid_.tile_m * grid_.tile_n));
  }
  for (size_t kind = 0; kind < products_.size(); ++kind) {
    ProductShape tile = shape;
    tile.m = (kind & 1) ? shape.m - (grid_.tiles_m - 1) * grid_.tile_m : grid_.tile_m;
    tile.n = (kind & 2) ? shape.n - (grid_.tiles_n - 1) * grid_.tile_n : grid_.tile_n;
    tile.c_row = tile.n;
    products_[kind] = &products.get(tile);
    product_bytes_ = std::max(product_bytes_, products_[kind]->scratch_bytes());
  }
}

void Gemm::run_tile(int64_t index, int worker, const float* a, const float* b, float* c,
                    void* scratch) const {
  const int64_t row = index % grid_.tiles_m, column = index / grid_.tiles_m;
  const bool last_row = row == grid_.tiles_m - 1, last_column = column == grid_.tiles_n - 1;
  const int64_t i = row * grid_.tile_m, j = column * grid_.tile_n;
  const Product& product = *products_[(last_row ? 1 : 0) + (last_column ? 2 : 0)];
  float* const target = c + i * shape_.c_row + j;
  float* const tile = direct_ ? target : static_cast<float*>(scratch);
  product.run(worker, a + i * shape_.a_row, b + j * shape_.b_col, tile,
              static_cast<char*>(scratch) + tile_bytes_);
  if (direct_) return;
  const int64_t rows = last_row ? shape_.m - i : grid_.tile_m;
  const int64_t columns = last_column ? shape_.n - j : grid_.tile_n;
  for (int64_t r = 0; r < rows; ++r) {
    float* const to = target + r * shape_.c_row;
    const float* const from = tile + r * columns;
    if (store_ == Store::kAdd) {
      vector_kernels().add_to(to, from, columns);
    } else {
      std::memcpy(to, from, sizeof(float) * static_cast<size_t>(columns));
    }
  }
}

void Gemm::run(ThreadPool& pool, const float* a, const float* b, float* c, void* scratch) const {
  char* const base = static_cast<char*>(scratch);
  pool.parallel_for(tiles(), [&](int64_t index, int worker) {
    run_tile(index, worker, a, b, c,
             base + static_cast<size_t>(worker) * scratch_bytes_per_worker());
  });
}

}  // namespace levanter::cpu
