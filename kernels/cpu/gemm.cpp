// The tile grid, chosen from measurements over the shapes of small and medium transformers.
// Plain twin: kernels/reference/dot.cpp.
#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cpu/product_parts.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kWantedTiles = 24;   ///< three for each of eight workers
constexpr int64_t kEnoughTiles = 8;    ///< with fewer, and work enough, columns are cut too
constexpr double kTileWork = 3e6;      ///< at least this many operations in a tile: about 25 us
constexpr int64_t kReadWork = 16;      ///< reading an element of B costs about 16 multiply-adds
constexpr int64_t kTallestTile = 256;  ///< rows; taller tiles leave the second-level cache
constexpr int64_t kShortestPack = 96;  ///< rows, where each tile transposes B, or A of bf16
constexpr int64_t kShortestWide = 64;  ///< rows, otherwise
constexpr int64_t kShortest = 32;      ///< rows, where a tile is narrow
constexpr int64_t kNarrow = 256;       ///< columns
constexpr int64_t kLongSum = 8192;     ///< k, from which B is read once, by tall narrow tiles
constexpr int64_t kWidestDense =
    4096;  ///< columns; narrower results are cut by rows, if that is enough
constexpr int64_t kWidestTile = 384;  ///< columns of wider results
constexpr int64_t kNarrowestTile = 128;
constexpr int64_t kColumnStep = 64, kRowStep = 16;
// Chain products: nothing is copied or called for a tile, so tiles may be small and many.
constexpr int64_t kShortestChain = 48, kChainRowStep = 12;
constexpr int64_t kEnoughChains = 16, kNarrowestChain = 64, kChainColumnStep = 32;
constexpr int64_t kLinesAtOnce = 16384;  ///< elements that a thread widens at a time
// Few rows (small M, as in a GEMV). B's columns are shared among threads as they lie; its rows only
// where they are long.
constexpr int64_t kSmallMTile = 262144;  ///< elements of a tile of B at most
constexpr int64_t kNarrowestFewColumns = 16, kNarrowestSmallM = 64;
constexpr int64_t kParts = 16;             ///< of k
constexpr int64_t kSmallMInParts = 65536;  ///< elements of B, from which it goes in parts
constexpr int64_t kSumColumns = 512, kPartStep = 8;

// Packing B costs 0.2 ns an element, 1.1 ns where it transposes, and each row of A then gains
// about 0.6 ps an element; transposing A costs 0.3 ns an element, and each column of B then gains
// 2 to 4 ps. A product of f32 that has not many rows is quicker as its factors lie, by tall tiles,
// unless lines of B fall on each other in the first cache.
constexpr int64_t kManyRows = 2048;  ///< that repay packing in any case
constexpr int64_t kCollision = 512;  ///< elements: lines so far apart, or a multiple, do
constexpr int64_t kRowsToPack = 512, kRowsToTransposeB = 2048;
constexpr int64_t kRowsToTransposeA = 256, kColumnsToTransposeA = 256;
constexpr double kWorkToPack = 2e8;   ///< operations: about half a millisecond
constexpr int64_t kPackedTile = 128;  ///< rows: with 384 columns a tile and its A stay in the cache

// By AMX, chosen from a prototype's measurements on Sapphire Rapids: B's panels of a part of k, at
// most 1.2 MB, and some of A's stay in the second-level cache.
constexpr int64_t kFewestPanelRows = 256;     ///< that repay packing B
constexpr int64_t kFewestPanelColumns = 384;  ///< that repay packing A
constexpr int64_t kShortestSum = 64;          ///< k, below which C's bytes are what a product costs
constexpr int64_t kMiddleSum = 768;           ///< k up to which tiles are low and wide
constexpr int64_t kFromMemory = 1 << 24;      ///< elements of B, which are packed at memory's speed
constexpr int64_t kRowsFromMemory = 1024;     ///< that repay it, where oneDNN reads B as it lies

/// The size of parts when `extent` is cut into parts no larger than `largest`, multiples of `step`.
int64_t even_part(int64_t extent, int64_t largest, int64_t step) {
  const int64_t parts = ceil_div(extent, largest);
  return std::min(extent, ceil_div(ceil_div(extent, parts), step) * step);
}

size_t aligned(size_t bytes) { return round_up(bytes, 64); }

/// Whether oneDNN's quick products take packed factors of these extents: bf16 goes in pairs of k.
bool is_packable(const ProductShape& shape) {
  return shape.factors == DType::f32 || shape.k % 2 == 0;
}

/// Whether B's columns, and not its rows, are without gaps.
bool has_dense_columns(const ProductShape& shape) {
  return shape.b_row == 1 && (shape.n == 1 || shape.b_col != 1);
}

/// Columns alone are cut: B is read once.
TileGrid small_m_grid(const ProductShape& shape) {
  const bool columns = has_dense_columns(shape);
  TileGrid grid;
  grid.small_m = true;
  if (!columns && shape.k * shape.n >= kSmallMInParts)
    grid.part_k = even_part(shape.k, ceil_div(shape.k, kParts), kPartStep);
  const int64_t narrowest = columns ? kNarrowestFewColumns : kNarrowestSmallM;
  const int64_t largest = std::min(kSmallMTile / shape.k, ceil_div(shape.n, kWantedTiles));
  grid.tile_m = shape.m;
  grid.tile_n =
      even_part(shape.n, grid.part_k > 0 ? kSumColumns : std::max(narrowest, largest), narrowest);
  grid.tiles_m = 1;
  grid.tiles_n = ceil_div(shape.n, grid.tile_n);
  return grid;
}

/// Cuts a product by AMX tiles, of at most 1,024 of k at a time.
void cut_panels(const ProductShape& s, TileGrid& grid) {
  int64_t rows = s.k <= kMiddleSum ? 128 : 256, columns = s.k <= kMiddleSum ? 768 : 512;
  const auto few = [&] { return ceil_div(s.m, rows) * ceil_div(s.n, columns) < kWantedTiles; };
  if (few()) rows = kPackedTile;
  while (few() && columns > kNarrow) columns /= 2;
  grid.packs_a = grid.packs_b = false;
  grid.tile_m = even_part(s.m, rows, kPanel);
  grid.tile_n = even_part(s.n, columns, kPanel);
}

double operations(const ProductShape& shape) {
  return 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
         static_cast<double>(shape.k);
}

/// Whether tiles are products for our own kernel once B lies the way that it wants, and that is
/// worth it.
bool is_chain(const ProductShape& shape, double flops) {
  ProductShape turned = shape;
  turned.b_row = shape.n;
  turned.b_col = 1;
  const bool turns = shape.b_col != 1 && shape.n > 1;
  return flops < kWorkToPack && (!turns || flops >= kTileWork) &&
         is_chain_product(turns ? turned : shape);
}

/// Whether both factors of a whole product of bf16 are widened before any tile: those of which
/// tiles are then chain products, so that each sum has the bits that parts would give it.
bool widens_at_once(const ProductShape& shape, bool small_m) {
  if (shape.factors != DType::bf16 || !widens_bf16() || (small_m && shape.m <= kSmallM))
    return false;
  const double flops = operations(shape);
  return shape.n >= kNarrowestChain && flops >= kTileWork && is_chain(widened(shape), flops);
}

}  // namespace

TileGrid tile_grid(const ProductShape& shape, bool small_m, TileKernel tile_kernel) {
  const int64_t m = shape.m, n = shape.n;
  TileGrid grid;
  if (m == 0 || n == 0) return grid;
  if (small_m && m <= kSmallM && shape.a_col == 1 && (shape.b_row == 1 || shape.b_col == 1))
    return small_m_grid(shape);
  const bool transposes_b = shape.b_col != 1 && n > 1;
  const bool is_f32 = shape.factors == DType::f32;
  const bool transposes_a = !is_f32 && shape.a_col != 1;
  const double flops = operations(shape);
  const bool short_f32 = is_f32 && m < kManyRows;
  const bool tall = short_f32 && flops >= kWorkToPack && m >= kRowsToPack && shape.a_col == 1;
  const bool collides = std::max(shape.b_row, shape.b_col) % kCollision == 0;
  if (flops >= kWorkToPack && is_packable(shape)) {
    // An A that lies transposed or whose rows are apart is multiplied by another implementation,
    // which takes no packed B: as quick in f32, not in bf16.
    const bool dense = shape.a_col == 1 && shape.a_row == shape.k;
    const int64_t to_pack = transposes_b ? kRowsToTransposeB : kRowsToPack;
    const int64_t to_transpose = transposes_b ? kRowsToTransposeB : kRowsToTransposeA;
    grid.packs_a = transposes_a && n >= kColumnsToTransposeA && m >= to_transpose;
    const bool gains = !short_f32 || (collides && shape.k < kLongSum);
    grid.packs_b = grid.packs_a || (dense && m >= to_pack && gains);
  }
  const bool chains = is_chain(shape, flops);
  grid.turns_b = chains && transposes_b;
  if (grid.packs_b) {
    grid.tile_m = even_part(m, short_f32 ? kTallestTile : kPackedTile, kRowStep);
    grid.tile_n = even_part(n, n > kNarrow ? kWidestTile : ceil_div(n, 2), kColumnStep);
  } else {
    int64_t shortest = n > kNarrow ? kShortestWide : kShortest;
    if (transposes_b || transposes_a) shortest = kShortestPack;
    if (tall || shape.k >= kLongSum) shortest = kTallestTile;
    if (chains) shortest = kShortestChain;
    const double work = 2.0 * static_cast<double>(n) * static_cast<double>(shape.k) *
                        static_cast<double>(m + kReadWork);
    const int64_t wanted =
        std::clamp<int64_t>(static_cast<int64_t>(work / kTileWork), 1, kWantedTiles);
    const bool cuts = n > kWidestDense || (tall && !transposes_b);
    int64_t columns = cuts ? ceil_div(n, kWidestTile) : 1;
    const int64_t rows = ceil_div(m, ceil_div(wanted, columns));
    grid.tile_m =
        even_part(m, std::clamp(rows, shortest, kTallestTile), chains ? kChainRowStep : kRowStep);
    const int64_t enough = std::min(wanted, chains ? kEnoughChains : kEnoughTiles);
    const int64_t narrowest = chains ? kNarrowestChain : kNarrowestTile;
    columns = std::max(columns, ceil_div(enough, ceil_div(m, grid.tile_m)));
    grid.tile_n = columns == 1 ? n
                               : even_part(n, std::max(ceil_div(n, columns), narrowest),
                                           chains ? kChainColumnStep : kColumnStep);
  }
  // A tile of one row or column goes by a kernel of oneDNN's that has other bits.
  const bool ends_in_one = m % grid.tile_m == 1 || n % grid.tile_n == 1;
  const bool repays = grid.packs_b || m >= kRowsFromMemory || shape.k * n < kFromMemory;
  if (tile_kernel != nullptr && !is_f32 && flops >= kWorkToPack && shape.k >= kShortestSum &&
      m >= kFewestPanelRows && n >= kFewestPanelColumns && repays && !ends_in_one) {
    grid.tile_kernel = tile_kernel;
    cut_panels(shape, grid);
  }
  grid.tiles_m = ceil_div(m, grid.tile_m);
  grid.tiles_n = ceil_div(n, grid.tile_n);
  return grid;
}

Gemm::Gemm(Products& products, const ProductShape& given, bool small_m)
    : shape_(widens_at_once(given, small_m) ? widened(given) : given),
      given_(given),
      grid_(tile_grid(shape_, small_m, products.tile_kernel())) {
  const ProductShape& shape = shape_;
  LEV_CHECK(shape.k >= 1, "a product needs k >= 1");
  if (tiles() == 0) return;
  dense_ = (grid_.tiles_n == 1 && shape.c_row == shape.n) || shape.m == 1;
  tile_bytes_ = aligned(sizeof(float) * static_cast<size_t>(grid_.tile_m * grid_.tile_n));
  if (grid_.small_m) {
    if (shape.factors == DType::bf16)  // A as f32
      packed_a_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.m * shape.k));
    if (grid_.part_k > 0)
      packed_b_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.m * shape.n) *
                                static_cast<size_t>(ceil_div(shape.k, grid_.part_k)));
    return;
  }
  if (grid_.tile_kernel != nullptr) {
    parts_ = cuts(shape.k, product_limits(DType::bf16, false, true)->k);
    packed_a_bytes_ = sizeof(uint16_t) * static_cast<size_t>(panel_elements(shape.m, shape.k));
    packed_b_bytes_ = sizeof(uint16_t) * static_cast<size_t>(panel_elements(shape.n, shape.k));
    product_bytes_ = kTileScratchBytes;
    return;
  }
  for (size_t kind = 0; kind < products_.size(); ++kind) {
    ProductShape tile = shape;
    tile.m = (kind & 1) ? shape.m - (grid_.tiles_m - 1) * grid_.tile_m : grid_.tile_m;
    tile.n = (kind & 2) ? shape.n - (grid_.tiles_n - 1) * grid_.tile_n : grid_.tile_n;
    tile.c_row = tile.n;
    tile.packed_b = grid_.packs_b;
    if (grid_.packs_a) {
      tile.a_row = shape.k;
      tile.a_col = 1;
    }
    if (grid_.turns_b) {
      tile.b_row = shape.n;
      tile.b_col = 1;
    }
    products_[kind] = &products.get(tile);
    product_bytes_ = std::max(product_bytes_, products_[kind]->scratch_bytes());
  }
  if (shape.factors != given.factors)
    widened_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.m * shape.k)) +
                     aligned(sizeof(float) * static_cast<size_t>(shape.k * shape.n));
  if (grid_.packs_a)
    packed_a_bytes_ = aligned(static_cast<size_t>(shape.m * shape.k * size_of(shape.factors)));
  if (grid_.turns_b)
    packed_b_bytes_ = aligned(sizeof(float) * static_cast<size_t>(shape.k * shape.n));
  if (grid_.packs_b) {
    column_bytes_ = products_[0]->packed_bytes();
    packed_b_bytes_ =
        column_bytes_ * static_cast<size_t>(grid_.tiles_n - 1) + products_[2]->packed_bytes();
  }
}

/// Both factors as f32, without gaps.
Factors Gemm::widen(ThreadPool& pool, const Factors& factors, void* to) const {
  const ProductShape& s = given_;
  const auto widen = [&](const Lines& all, const void* from, char* at) {
    const int64_t size = size_of(s.factors), some = ceil_div(kLinesAtOnce, all.length);
    pool.parallel_for(ceil_div(all.count, some), [&](int64_t index, int) {
      const int64_t first = index * some;
      copy_lines(at + first * all.length * size_of(DType::f32),
                 static_cast<const char*>(from) + first * all.stride * size,
                 {std::min(some, all.count - first), all.length, all.stride}, s.factors, true);
    });
    return at + aligned(static_cast<size_t>(all.count * all.length * size_of(DType::f32)));
  };
  auto* const a = static_cast<char*>(to);
  char* const b = widen(lines(s.m, s.k, s.a_row, s.a_col), factors.a, a);
  widen(lines(s.k, s.n, s.b_row, s.b_col), factors.b, b);
  return {a, b};
}

Factors Gemm::pack(ThreadPool& pool, const Factors& given, void* room) const {
  const Factors factors = widened_bytes_ > 0 ? widen(pool, given, room) : given;
  char* const packed = static_cast<char*>(room) + widened_bytes_;
  Factors ready = factors;
  const int64_t size = size_of(shape_.factors);
  if (grid_.small_m) return pack_few(pool, factors, packed);
  if (grid_.tile_kernel != nullptr) {
    char* const b = packed + packed_a_bytes_;
    pack_panels(pool, shape_, factors.a, packed, factors.b, b);
    return {packed, b};
  }
  if (grid_.turns_b) {
    ready.b = packed;
    pool.parallel_for(ceil_div(shape_.n, kColumnStep), [&](int64_t index, int) {
      const int64_t column = index * kColumnStep;
      vector_kernels().transpose_4(reinterpret_cast<uint32_t*>(packed) + column, shape_.n,
                                   static_cast<const uint32_t*>(factors.b) + column * shape_.b_col,
                                   shape_.b_col, std::min(kColumnStep, shape_.n - column),
                                   shape_.k);
    });
  }
  if (grid_.packs_a) {
    ready.a = packed;
    pool.parallel_for(grid_.tiles_m, [&](int64_t index, int) {
      const int64_t row = index * grid_.tile_m, rows = std::min(grid_.tile_m, shape_.m - row);
      const char* const from = static_cast<const char*>(factors.a) + row * shape_.a_row * size;
      char* const to = packed + row * shape_.k * size;
      transpose_a(to, from, rows);
    });
  }
  if (grid_.packs_b) {
    char* const b = packed + packed_a_bytes_;
    ready.b = b;
    pool.parallel_for(grid_.tiles_n, [&](int64_t index, int worker) {
      const int64_t from = index * grid_.tile_n * shape_.b_col * size;
      products_[index == grid_.tiles_n - 1 ? 2 : 0]->pack(
          worker, static_cast<const char*>(factors.b) + from,
          b + static_cast<size_t>(index) * column_bytes_,
          static_cast<char*>(room) + packed_bytes() +
              static_cast<size_t>(worker) * scratch_bytes_per_worker() + tile_bytes_);
    });
  }
  return ready;
}

/// `rows` rows of A, which lie as columns a_col apart, as rows.
void Gemm::transpose_a(void* to, const void* from, int64_t rows) const {
  const VectorKernels& kernels = vector_kernels();
  if (shape_.factors == DType::bf16) {
    kernels.transpose_2(static_cast<uint16_t*>(to), shape_.k, static_cast<const uint16_t*>(from),
                        shape_.a_col, shape_.k, rows);
  } else {
    kernels.transpose_4(static_cast<uint32_t*>(to), shape_.k, static_cast<const uint32_t*>(from),
                        shape_.a_col, shape_.k, rows);
  }
}

/// The whole product of few rows, of factors that pack_few began.
SmallMProduct Gemm::small_m(const Factors& factors) const {
  return {.rows = shape_.m,
          .columns = shape_.n,
          .k = shape_.k,
          .x = static_cast<const float*>(factors.a),
          .x_row = shape_.factors == DType::bf16 ? shape_.k : shape_.a_row,
          .w = factors.b,
          .w_stride = has_dense_columns(shape_) ? shape_.b_col : shape_.b_row};
}

void Gemm::run_few(const SmallMProduct& product) const {
  const VectorKernels& kernels = vector_kernels();
  const auto order = has_dense_columns(shape_) ? MatrixOrder::kColumns : MatrixOrder::kRows;
  (shape_.factors == DType::bf16 ? kernels.small_m_bf16
                                 : kernels.small_m)[static_cast<size_t>(order)](product);
}

/// A widened, and B replaced by the parts of the product where there are some.
Factors Gemm::pack_few(ThreadPool& pool, const Factors& factors, void* packed) const {
  Factors ready = factors;
  if (shape_.factors == DType::bf16) {
    ready.a = packed;
    for (int64_t row = 0; row < shape_.m; ++row)
      vector_kernels().widen(static_cast<float*>(packed) + row * shape_.k,
                             static_cast<const uint16_t*>(factors.a) + row * shape_.a_row,
                             shape_.k);
  }
  if (grid_.part_k == 0) return ready;
  auto* parts = reinterpret_cast<float*>(static_cast<char*>(packed) + packed_a_bytes_);
  pool.parallel_for(ceil_div(shape_.k, grid_.part_k), [&](int64_t part, int) {
    const int64_t begin = part * grid_.part_k;
    SmallMProduct product = small_m(ready);
    product.k = std::min(grid_.part_k, shape_.k - begin);
    product.x += begin;
    product.w =
        static_cast<const char*>(product.w) + begin * product.w_stride * size_of(shape_.factors);
    product.y = parts + part * shape_.m * shape_.n;
    product.y_row = shape_.n;
    run_few(product);
  });
  ready.b = parts;
  return ready;
}

void Gemm::multiply_few(const Factors& factors, const Tile& tile) const {
  if (grid_.part_k > 0) {
    const float* parts = static_cast<const float*>(factors.b) + tile.column;
    for (int64_t row = 0; row < tile.rows; ++row)
      vector_kernels().sum_rows(tile.values + row * tile.columns, parts + row * shape_.n,
                                shape_.m * shape_.n, ceil_div(shape_.k, grid_.part_k),
                                tile.columns);
    return;
  }
  SmallMProduct product = small_m(factors);
  product.columns = tile.columns;
  product.w =
      static_cast<const char*>(product.w) + tile.column * shape_.b_col * size_of(shape_.factors);
  product.y = tile.values;
  product.y_row = tile.columns;
  run_few(product);
}

Tile Gemm::multiply(int64_t index, int worker, const Factors& factors, void* scratch,
                    float* c) const {
  return compute(index, worker, factors, scratch, dense_ ? c : nullptr);
}

/// With `c` the tile lies in C itself.
Tile Gemm::compute(int64_t index, int worker, const Factors& factors, void* scratch,
                   float* c) const {
  const int64_t row = index % grid_.tiles_m, column = index / grid_.tiles_m;
  const bool last_row = row == grid_.tiles_m - 1, last_column = column == grid_.tiles_n - 1;
  Tile tile;
  tile.row = row * grid_.tile_m;
  tile.column = column * grid_.tile_n;
  tile.rows = last_row ? shape_.m - tile.row : grid_.tile_m;
  tile.columns = last_column ? shape_.n - tile.column : grid_.tile_n;
  tile.values =
      c != nullptr ? c + tile.row * shape_.c_row + tile.column : static_cast<float*>(scratch);
  if (grid_.small_m) {
    multiply_few(factors, tile);
    return tile;
  }
  if (grid_.tile_kernel != nullptr) {
    const auto panels = [&](const void* packed, int64_t at) {
      return static_cast<const uint16_t*>(packed) + panel_elements(at, shape_.k);
    };
    grid_.tile_kernel({.rows = tile.rows,
                       .columns = tile.columns,
                       .parts = parts_,
                       .a = panels(factors.a, tile.row),
                       .b = panels(factors.b, tile.column),
                       .c = tile.values,
                       .c_row = c != nullptr ? shape_.c_row : tile.columns},
                      reinterpret_cast<float*>(static_cast<char*>(scratch) + tile_bytes_));
    return tile;
  }
  const int64_t size = size_of(shape_.factors);
  const auto a_at = tile.row * (grid_.packs_a ? shape_.k : shape_.a_row) * size;
  const auto b_at = grid_.packs_b ? column * static_cast<int64_t>(column_bytes_)
                                  : tile.column * (grid_.turns_b ? 1 : shape_.b_col) * size;
  products_[(last_row ? 1 : 0) + (last_column ? 2 : 0)]->run(
      worker, static_cast<const char*>(factors.a) + a_at,
      static_cast<const char*>(factors.b) + b_at, tile.values,
      static_cast<char*>(scratch) + tile_bytes_);
  return tile;
}

void Gemm::run_tile(int64_t index, int worker, const Factors& factors, float* c, Store store,
                    void* scratch) const {
  const bool overwrite = store == Store::kOverwrite;
  // A TileKernel's rows may be apart.
  const bool in_place = overwrite && (dense_ || grid_.tile_kernel != nullptr);
  const Tile tile = compute(index, worker, factors, scratch, in_place ? c : nullptr);
  if (in_place) return;
  for (int64_t r = 0; r < tile.rows; ++r) {
    float* const to = c + (tile.row + r) * shape_.c_row + tile.column;
    const float* const from = tile.values + r * tile.columns;
    if (overwrite) {
      std::memcpy(to, from, sizeof(float) * static_cast<size_t>(tile.columns));
    } else {
      vector_kernels().add_to(to, from, tile.columns);
    }
  }
}

void Gemm::run_tiles(ThreadPool& pool, const Factors& factors, float* c, Store store,
                     void* scratch) const {
  char* const base = static_cast<char*>(scratch);
  pool.parallel_for(tiles(), [&](int64_t index, int worker) {
    run_tile(index, worker, factors, c, store,
             base + static_cast<size_t>(worker) * scratch_bytes_per_worker());
  });
}

void Gemm::run(ThreadPool& pool, const Factors& factors, float* c, Store store,
               void* scratch) const {
  run_tiles(pool, pack(pool, factors, scratch), c, store,
            static_cast<char*>(scratch) + packed_bytes());
}

}  // namespace levanter::cpu
