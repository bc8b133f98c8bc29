// Factors packed into panels, and products of bf16 by AMX tiles of them: a way for large products
// that is quicker than oneDNN's, with the bits of oneDNN's in parts (product_parts.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/threads.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {

/// Rows of A or columns of B in a panel, and terms in a step of it.
inline constexpr int64_t kPanel = 32;
inline constexpr int64_t kPanelStep = kPanel * kPanel;  ///< elements

/// Elements of a packed factor of `extent` rows or columns.
constexpr int64_t panel_elements(int64_t extent, int64_t k) {
  return (extent + kPanel - 1) / kPanel * ((k + kPanel - 1) / kPanel) * kPanelStep;
}

/// Packs A, unless it is null, and B on the pool, each into its panel_elements of bf16 from a
/// multiple of 64 on.
void pack_panels(ThreadPool& pool, const ProductShape& shape, const void* a, void* packed_a,
                 const void* b, void* packed_b);

/// C[r, c] = the sum over k of A[r, k] B[k, c], for some of a product's rows and columns. Each sum
/// is one chain of products of tiles, in the order of k, for each part of k, and the parts are
/// added in f32 in order. So the bits depend on k and the values alone.
struct TileProduct {
  int64_t rows = 0, columns = 0;
  /// Where the parts of k begin, multiples of 32 from 0 on, and k: as cuts() gives them.
  std::span<const int64_t> parts;
  const uint16_t* a = nullptr;  ///< the panels of these rows
  const uint16_t* b = nullptr;  ///< and columns
  float* c = nullptr;
  int64_t c_row = 0;
};

/// What a TileKernel needs as its scratch, aligned to 64.
inline constexpr size_t kTileScratchBytes = sizeof(float) * kPanelStep;

/// Whether a kernel gives the bits that the processor's tiles are known for, by a small product.
bool has_known_bits(TileKernel tiles);

/// The kernel by the processor's tiles, or null: where it has none, or oneDNN may not use them, or
/// the vector kernels are not of the level v4, or tiles have not the bits that they are known for.
TileKernel usable_tiles();

}  // namespace levanter::cpu
