// The tile grid, chosen from measurements over the shapes of small and medium transformers.
#include "kernels/cpu/tile_grid.h"

#include <algorithm>

#include "base/integers.h"
#include "kernels/cpu/product_parts.h"
#include "kernels/cpu/tile_product.h"
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

// By pairs of bf16, chosen from measurements on Zen 4. Each worker packs the part of B that its
// tiles read, since what another one has just written comes slowly where they share no cache.
constexpr int64_t kPairRows = 128, kFewestPairRows = 32, kPairRowStep = 8;
constexpr int64_t kPairColumns = 384, kFewestPairColumns = 96;
constexpr int64_t kWidePairs = 768;    ///< columns up to which tiles have whole rows
constexpr size_t kOwnBytes = 5 << 18;  ///< of a worker's part of B at most
constexpr int64_t kPackedPart = 1024;  ///< k, where A is transposed or k very long

/// The size of parts when `extent` is cut into parts no larger than `largest`, multiples of `step`.
int64_t even_part(int64_t extent, int64_t largest, int64_t step) {
  const int64_t parts = ceil_div(extent, largest);
  return std::min(extent, ceil_div(ceil_div(extent, parts), step) * step);
}

/// Whether oneDNN's quick products take packed factors of these extents: bf16 goes in pairs of k.
bool is_packable(const ProductShape& shape) {
  return shape.factors == DType::f32 || shape.k % 2 == 0;
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

/// Cuts a product by pairs.
void cut_pairs(const ProductShape& s, TileGrid& grid) {
  grid.pairs = true;
  int64_t rows = kPairRows, columns = s.n <= kWidePairs ? s.n : kPairColumns;
  const auto wanted =
      std::clamp(static_cast<int64_t>(operations(s) / kTileWork), int64_t{1}, kWantedTiles);
  const auto few = [&] { return ceil_div(s.m, rows) * ceil_div(s.n, columns) < wanted; };
  while (few() && rows > kFewestPairRows) rows /= 2;
  while (few() && columns / 2 >= kFewestPairColumns) columns /= 2;
  // A B that comes from memory is read once, if rows are not many.
  if (s.k * s.n >= kFromMemory && s.m <= kRowsFromMemory && s.k < kLongSum) rows = s.m;
  grid.tile_m = even_part(s.m, rows, kPairRowStep);
  grid.tile_n = even_part(s.n, columns, kPanel);
  const auto bytes = sizeof(uint16_t) * static_cast<size_t>(panel_elements(grid.tile_n, s.k));
  const bool shared = wanted > 1 && grid.tile_m < s.m;
  grid.owns_b = shared && bytes <= kOwnBytes;
  grid.packs_b = shared && !grid.owns_b;
  if (s.k >= 2 * kPackedPart && (s.a_col != 1 || s.k >= kLongSum)) grid.packed_part = kPackedPart;
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

/// Cuts a product by oneDNN, chains or a TileKernel.
void cut_others(const ProductShape& shape, TileKernel tile_kernel, TileGrid& grid) {
  const int64_t m = shape.m, n = shape.n;
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
}

}  // namespace

bool has_dense_columns(const ProductShape& shape) {
  return shape.b_row == 1 && (shape.n == 1 || shape.b_col != 1);
}

bool widens_at_once(const ProductShape& shape, bool small_m) {
  if (shape.factors != DType::bf16 || bf16_way() != Bf16Way::kWidened) return false;
  if (small_m && shape.m <= kSmallM) return false;
  const double flops = operations(shape);
  return shape.n >= kNarrowestChain && flops >= kTileWork && is_chain(widened(shape), flops);
}

TileGrid tile_grid(const ProductShape& shape, bool small_m, TileKernel tile_kernel, bool pairs) {
  TileGrid grid;
  if (shape.m == 0 || shape.n == 0) return grid;
  if (small_m && shape.m <= kSmallM && shape.a_col == 1 && (shape.b_row == 1 || shape.b_col == 1))
    return small_m_grid(shape);
  if (pairs)
    cut_pairs(shape, grid);
  else
    cut_others(shape, tile_kernel, grid);
  grid.tiles_m = ceil_div(shape.m, grid.tile_m);
  grid.tiles_n = ceil_div(shape.n, grid.tile_n);
  return grid;
}

}  // namespace levanter::cpu
