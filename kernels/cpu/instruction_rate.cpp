// How quick the processor's own instruction of products is, with nothing else beside it.
#include "kernels/cpu/instruction_rate.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/processor.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/tile_unit.h"

namespace levanter::cpu {

namespace {

#if defined(__x86_64__)

// As many sums as hide the latency of four cycles of two units. What is multiplied shrinks the sum
// and is added to it again, so that it stays near 1 for ever.
constexpr int kSums = 12;

[[gnu::target("avx512f")]] float fma_512(int64_t rounds) {
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0f);
  const __m512 half = _mm512_set1_ps(0.5f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, half, half);
  }
  float total = 0;
  for (const __m512& sum : sums) total += _mm512_cvtss_f32(sum);
  return total;
}

[[gnu::target("avx2,fma")]] float fma_256(int64_t rounds) {
  __m256 sums[kSums];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1.0f);
  const __m256 half = _mm256_set1_ps(0.5f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, half, half);
  }
  float total = 0;
  for (const __m256& sum : sums) total += _mm256_cvtss_f32(sum);
  return total;
}

[[gnu::target("avx512f,avx512bw,avx512bf16")]] float dot_bf16_512(int64_t rounds) {
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0f);
  const auto small = (__m512bh)_mm512_set1_epi16(0x2f80);  // 2^-32 in bf16
  const auto other = (__m512bh)_mm512_set1_epi16(0x3f81);  // a little more than 1
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, small, other);
  }
  float total = 0;
  for (const __m512& sum : sums) total += _mm512_cvtss_f32(sum);
  return total;
}

/// Four sums of 16 x 16 by two tiles of 16 x 32 on either side, as in a product.
float tiles_bf16(int64_t rounds) {
  if (!may_use_tiles()) return 0;
  alignas(64) uint16_t factors[kTileRows * kTileDepth];
  for (uint16_t& factor : factors) factor = 0x3f81;
  alignas(64) float sums[kTileRows * kTileRows] = {};
  HardwareTiles tiles;
  tiles.load<4>(factors, kTileRowBytes);
  tiles.load<5>(factors, kTileRowBytes);
  tiles.load<6>(factors, kTileRowBytes);
  tiles.load<7>(factors, kTileRowBytes);
  tiles.zero<0>();
  tiles.zero<1>();
  tiles.zero<2>();
  tiles.zero<3>();
  for (int64_t i = 0; i < rounds; ++i) {
    tiles.multiply<0, 4, 6>();
    tiles.multiply<1, 4, 7>();
    tiles.multiply<2, 5, 6>();
    tiles.multiply<3, 5, 7>();
  }
  tiles.store<0>(sums, kTileRowBytes);
  return sums[0];
}

#endif

}  // namespace

const ProductInstruction* product_instruction(DType factors) {
#if defined(__x86_64__)
  static constexpr ProductInstruction kFma512 = {"vfmadd zmm", kSums * 16 * 2, fma_512};
  static constexpr ProductInstruction kFma256 = {"vfmadd ymm", kSums * 8 * 2, fma_256};
  static constexpr ProductInstruction kDotBf16 = {"vdpbf16ps zmm", kSums * 32 * 2, dot_bf16_512};
  static constexpr ProductInstruction kTiles = {"tdpbf16ps", 4 * 16 * 16 * 32 * 2, tiles_bf16};
  const Processor& it = processor();
  if (factors == DType::bf16 && bf16_way() != Bf16Way::kWidened)
    return it.amx_bf16 && may_use_tiles() ? &kTiles : &kDotBf16;
  if (it.avx512) return &kFma512;
  return it.avx2 ? &kFma256 : nullptr;
#else
  (void)factors;
  return nullptr;
#endif
}

}  // namespace levanter::cpu
