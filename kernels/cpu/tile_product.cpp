// Packing for products by tiles, and the trial that decides whether the processor's are used.
// Plain twin: kernels/reference/dot.cpp.
#include "kernels/cpu/tile_product.h"

#include <bit>
#include <cmath>
#include <string_view>

#include "base/processor.h"
#include "kernels/cpu/tile_loops.h"

#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace levanter::cpu {

void pack_panels(ThreadPool& pool, const ProductShape& shape, const void* a, void* packed_a,
                 const void* b, void* packed_b) {
  constexpr int64_t kTogether = 4, kElements = 65536;  // of a claim: some 10 us
  const int64_t share = round_up(ceil_div(kElements, panel_elements(1, shape.k)), kTogether);
  const int64_t tasks_a = a == nullptr ? 0 : ceil_div(shape.m, share * kPanel);
  const auto pack = [&](FactorSide side, int64_t extent, const void* from, int64_t along,
                        int64_t across, void* to, int64_t task) {
    const int64_t begin = task * share, end = std::min(begin + share, ceil_div(extent, kPanel));
    vector_kernels().pack_panels[along == 1](
        {side, extent, shape.k, from, along == 1 ? across : along, to, begin, end});
  };
  pool.parallel_for(tasks_a + ceil_div(shape.n, share * kPanel), [&](int64_t task, int) {
    if (task < tasks_a)
      pack(FactorSide::kA, shape.m, a, shape.a_col, shape.a_row, packed_a, task);
    else
      pack(FactorSide::kB, shape.n, b, shape.b_row, shape.b_col, packed_b, task - tasks_a);
  });
}

namespace {

float value(uint16_t bf16) { return std::bit_cast<float>(uint32_t{bf16} << 16); }

/// A denormal number counts as 0 of its sign, and becomes that.
float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

/// TDPBF16PS as it was observed on Sapphire Rapids, for each element of C, over the pairs p:
///   even = flush(fma(a[2 p], b[2 p], even)),  odd = flush(fma(a[2 p + 1], b[2 p + 1], odd))
///   c = flush(c + flush(even + odd)),  even and odd from 0, factors flushed too
float plain_product(float c, const uint16_t* a, const uint16_t* b) {
  float sums[2] = {};
  for (int64_t i = 0; i < kTileDepth; ++i) {
    const float left = flush(value(a[i])), right = flush(value(b[i / 2 * kTileDepth + i % 2]));
    sums[i % 2] = flush(std::fma(left, right, sums[i % 2]));
  }
  return flush(c + flush(sums[0] + sums[1]));
}

}  // namespace

// A with denormal numbers and such as are a little larger, B with usual ones: products and sums are
// about the least normal number.
bool has_known_bits(TileKernel tiles) {
  constexpr int64_t kSteps = 3, kElements = kSteps * kPanelStep;
  alignas(64) uint16_t a[kElements], b[kElements];
  alignas(64) float c[kPanelStep], block[kPanelStep];
  uint32_t state = 1;
  const auto draw = [&](uint32_t least) {  // sign, three bits of the exponent, mantissa
    state = state * 1664525 + 1013904223;
    return static_cast<uint16_t>((state >> 31 << 15) | (least + (state >> 16 & 0x3ff)));
  };
  for (int64_t i = 0; i < kElements; ++i) {
    a[i] = draw(0);
    b[i] = draw(0x3d80);
  }
  const int64_t parts[] = {0, kSteps * kPanel};
  tiles({kPanel, kPanel, parts, a, b, c, kPanel}, block);
  for (int64_t i = 0; i < kPanelStep; ++i) {
    const int64_t row = i / kPanel, column = i % kPanel;
    float sum = 0;
    for (int64_t step = 0; step < kElements; step += kPanelStep)
      sum = plain_product(sum, a + step + row * kTileDepth,
                          b + step + column / kTileRows * kPanelStep / 2 + column % kTileRows * 2);
    if (std::bit_cast<uint32_t>(sum) != std::bit_cast<uint32_t>(c[i])) return false;
  }
  return true;
}

#if defined(__x86_64__)
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

TileKernel usable_tiles() {
  static const bool usable = bf16_way() == Bf16Way::kTiles &&
                             std::string_view(vector_kernels().isa) == "v4" && may_use_tiles() &&
                             has_known_bits(multiply_in_tiles<HardwareTiles>);
  return usable ? multiply_in_tiles<HardwareTiles> : nullptr;
}
#else
bool may_use_tiles() { return false; }
TileKernel usable_tiles() { return nullptr; }
#endif

}  // namespace levanter::cpu
