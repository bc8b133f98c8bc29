// bf16 spans against base/bf16.h, on every instruction set.
#include <catch2/catch.hpp>

#include <bit>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/cpu/vector.h"

using namespace levanter;
using namespace levanter::cpu;

TEST_CASE("bf16 is rounded, stored and read as base/bf16.h does, bit for bit", "[kernels]") {
  std::vector<float> x;
  for (uint64_t i = 0; i < 3000; ++i)
    x.push_back(std::bit_cast<float>(random_bits(key_from_seed(1), i)));
  for (const uint32_t upper : {0x0000u, 0x0001u, 0x007fu, 0x3f80u, 0x3f81u, 0x7f7fu, 0x7f80u})
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      for (const uint32_t sign : {0u, 0x80000000u})
        x.push_back(std::bit_cast<float>(sign | upper << 16 | lower));
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (size_t n = x.size() - 40; n <= x.size(); ++n) {
      const auto count = static_cast<int64_t>(n);
      std::vector<uint16_t> narrow(n + 1, 0x1234);
      std::vector<float> wide(n + 1, 7), rounded(n + 1, 7);
      kernels->narrow(narrow.data(), x.data(), count);
      kernels->widen(wide.data(), narrow.data(), count);
      kernels->unary[static_cast<size_t>(UnaryOp::kRoundBf16)](rounded.data(), x.data(), count);
      REQUIRE((narrow[n] == 0x1234 && wide[n] == 7 && rounded[n] == 7));
      size_t wrong = 0;
      for (size_t i = 0; i < n; ++i) {
        const uint32_t bits = uint32_t{Bf16(x[i]).bits()} << 16;
        wrong += narrow[i] != bits >> 16 || std::bit_cast<uint32_t>(wide[i]) != bits ||
                 std::bit_cast<uint32_t>(rounded[i]) != bits;
      }
      CHECK(wrong == 0);
    }
  }
}
