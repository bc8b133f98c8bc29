// How quick the processor's own instruction of products is, with nothing else beside it.
#include "kernels/cpu/instruction_rate.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/processor.h"

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

/// Asks the kernel for the tiles' registers, once a process.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

/// Four sums of 16 x 16 by two tiles of 16 x 32 on either side, as in a product. Tile instructions
/// are written out: the compiler's own forms do not say which memory they read.
float tiles_bf16(int64_t rounds) {
  if (!may_use_tiles()) return 0;
  alignas(64) uint8_t shape[64] = {1};  // palette 1; then bytes a row, and rows, of eight tiles
  for (int tile = 0; tile < 8; ++tile) {
    shape[16 + 2 * tile] = 64;
    shape[48 + tile] = 16;
  }
  alignas(64) uint16_t factors[512];
  for (uint16_t& factor : factors) factor = 0x3f81;
  alignas(64) float sums[256] = {};
  asm volatile("ldtilecfg (%0)\n" : : "r"(shape) : "memory");
  constexpr int64_t kRow = 64;
  asm volatile(
      "tileloadd (%0,%1,1), %%tmm4\n"
      "tileloadd (%0,%1,1), %%tmm5\n"
      "tileloadd (%0,%1,1), %%tmm6\n"
      "tileloadd (%0,%1,1), %%tmm7\n"
      "tilezero %%tmm0\n"
      "tilezero %%tmm1\n"
      "tilezero %%tmm2\n"
      "tilezero %%tmm3\n"
      :
      : "r"(factors), "r"(kRow)
      : "memory");
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n"
        "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n"
        "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n" ::
            : "memory");
  asm volatile("tilestored %%tmm0, (%0,%1,1)\ntilerelease\n" : : "r"(sums), "r"(kRow) : "memory");
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
  if (factors == DType::bf16) {
    if (it.amx_bf16 && may_use_tiles()) return &kTiles;
    return it.avx512_bf16 ? &kDotBf16 : nullptr;
  }
  if (it.avx512) return &kFma512;
  return it.avx2 ? &kFma256 : nullptr;
#else
  (void)factors;
  return nullptr;
#endif
}

}  // namespace levanter::cpu
