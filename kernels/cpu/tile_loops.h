// The loops of a product by AMX tiles, the same text for the processor's tiles and for the
// emulated ones of the tests.
// Plain twin: kernels/reference/dot.cpp; of each bit, tests/kernels/cpu_tile_product_test.cpp.
#pragma once

#include <algorithm>
#include <cstring>

#include "base/integers.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/tile_unit.h"

namespace levanter::cpu {

/// Sums into the tiles 0 to 3, [0 1; 2 3], over some steps of a panel of either factor. Meanwhile
/// asks for the block's `rows` of C, `stride` bytes apart, two lines each.
template <class Tiles>
void multiply_panels(Tiles& tiles, const uint16_t* a, const uint16_t* b, int64_t steps,
                     const char* c, int64_t stride, int64_t rows) {
  constexpr int64_t kTile = kTileRows * kTileDepth, kRowsAtOnce = 4, kLine = 64;
  static_assert(2 * kTile == kPanelStep && kPanel == kTileDepth);
  tiles.template zero<0>();
  tiles.template zero<1>();
  tiles.template zero<2>();
  tiles.template zero<3>();
  for (int64_t s = 0; s < steps; ++s, a += kPanelStep, b += kPanelStep) {
    tiles.template load<4>(a, kTileRowBytes);
    tiles.template load<6>(b, kTileRowBytes);
    tiles.template multiply<0, 4, 6>();
    for (int64_t r = 0; r < kRowsAtOnce && rows > 0; ++r, --rows, c += stride) {
      Tiles::will_write(c);
      Tiles::will_write(c + kLine);
    }
    tiles.template load<5>(a + kTile, kTileRowBytes);
    tiles.template multiply<2, 5, 6>();
    tiles.template load<7>(b + kTile, kTileRowBytes);
    tiles.template multiply<1, 4, 7>();
    tiles.template multiply<3, 5, 7>();
  }
}

/// The four sums to rows `row` elements apart.
template <class Tiles>
void store_sums(const Tiles& tiles, float* to, int64_t row) {
  const auto stride = static_cast<int64_t>(sizeof(float)) * row;
  tiles.template store<0>(to, stride);
  tiles.template store<1>(to + kTileRows, stride);
  tiles.template store<2>(to + kTileRows * row, stride);
  tiles.template store<3>(to + kTileRows * row + kTileRows, stride);
}

/// A panel of A with every panel of B, over the steps [begin, end): written to C, or added to what
/// earlier parts of k gave.
template <class Tiles>
void multiply_row(Tiles& tiles, const TileProduct& p, int64_t row, int64_t begin, int64_t end,
                  float* block) {
  constexpr int64_t kLine = 32;  // elements of a factor
  const int64_t panel = ceil_div(p.parts.back(), kPanel) * kPanelStep;
  const int64_t rows = std::min(kPanel, p.rows - row);
  const uint16_t* const a = p.a + row / kPanel * panel + begin * kPanelStep;
  const uint16_t* b = p.b + begin * kPanelStep;
  // Meanwhile the next rows of A come into the second cache, a share with each panel of B.
  const uint16_t* next = a + panel;
  const int64_t share =
      row + kPanel < p.rows ? ceil_div((end - begin) * kPanelStep, ceil_div(p.columns, kPanel)) : 0;
  for (int64_t column = 0; column < p.columns; column += kPanel, b += panel, next += share) {
    for (int64_t at = 0; at < share; at += kLine) __builtin_prefetch(next + at, 0, 2);
    float* c = p.c + row * p.c_row + column;
    multiply_panels(tiles, a, b, end - begin, reinterpret_cast<const char*>(c),
                    static_cast<int64_t>(sizeof(float)) * p.c_row, rows);
    const int64_t columns = std::min(kPanel, p.columns - column);
    if (begin == 0 && rows == kPanel && columns == kPanel) {
      store_sums(tiles, c, p.c_row);
      continue;
    }
    store_sums(tiles, block, kPanel);
    for (int64_t r = 0; r < rows; ++r, c += p.c_row)
      if (begin == 0)
        std::memcpy(c, block + r * kPanel, sizeof(float) * static_cast<size_t>(columns));
      else
        vector_kernels().add_to(c, block + r * kPanel, columns);
  }
}

/// On the calling thread. A TileKernel.
template <class Tiles>
void multiply_in_tiles(const TileProduct& p, float* block) {
  Tiles tiles;
  for (size_t part = 0; part + 1 < p.parts.size(); ++part)
    for (int64_t row = 0; row < p.rows; row += kPanel)
      multiply_row(tiles, p, row, p.parts[part] / kPanel, ceil_div(p.parts[part + 1], kPanel),
                   block);
}

}  // namespace levanter::cpu
