// Products of bf16 as chains over pairs: every bit, however the factors lie and are cut.
#include <catch2/catch.hpp>

#include <algorithm>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/bf16.h"
#include "base/processor.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/tile_product.h"
#include "support/random_values.h"

using namespace levanter;
using levanter::testing::random_values;
using namespace levanter::cpu;

#if defined(__x86_64__)

namespace {

constexpr int64_t kGap = 3;  // between rows
constexpr float kPoison = -12345.0f;

using Halves = std::vector<uint16_t>;

Halves random_halves(int64_t n, uint32_t seed) {
  const std::vector<float> values = random_values(n, seed);
  Halves halves;
  for (const float x : values) halves.push_back(Bf16(x).bits());
  return halves;
}

/// Memory from a multiple of 64 on.
class Room {
 public:
  explicit Room(size_t bytes) : bytes_(bytes + 64) {}
  void* at() { return bytes_.data() + (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64; }

 private:
  std::vector<std::byte> bytes_;
};

uint32_t pair_of(uint16_t first, uint16_t second) { return first | uint32_t{second} << 16; }

/// sum + the products of a pair, by the processor's own instruction.
[[gnu::target("avx512f,avx512bf16,avx512vl")]] float add_pair(float sum, uint32_t a, uint32_t b) {
  const __m128i left = _mm_cvtsi32_si128(static_cast<int>(a));
  const __m128i right = _mm_cvtsi32_si128(static_cast<int>(b));
  return _mm_cvtss_f32(_mm_dpbf16_ps(_mm_set_ss(sum), (__m128bh)left, (__m128bh)right));
}

/// A[row, k] and B[k, column], 0 beyond k.
struct Operands {
  ProductShape shape;
  const Halves &a, &b;

  uint16_t left(int64_t row, int64_t k) const {
    return k < shape.k ? a[static_cast<size_t>(row * shape.a_row + k * shape.a_col)] : uint16_t{0};
  }
  uint16_t right(int64_t k, int64_t column) const {
    return k < shape.k ? b[static_cast<size_t>(k * shape.b_row + column * shape.b_col)]
                       : uint16_t{0};
  }
  float chain(int64_t row, int64_t column, float sum) const {
    for (int64_t k = 0; k < shape.k; k += 2)
      sum = add_pair(sum, pair_of(left(row, k), left(row, k + 1)),
                     pair_of(right(k, column), right(k + 1, column)));
    return sum;
  }
};

bool runs_pairs() { return processor().avx512_bf16 && vector_kernels().pair_product != nullptr; }

ProductShape shape_of(int64_t m, int64_t n, int64_t k, bool a_turned, bool b_turned) {
  ProductShape shape{.m = m, .n = n, .k = k, .c_row = n + kGap, .factors = DType::bf16};
  shape.a_row = a_turned ? 1 : k + kGap;
  shape.a_col = a_turned ? m + kGap : 1;
  shape.b_row = b_turned ? 1 : n + kGap;
  shape.b_col = b_turned ? k + kGap : 1;
  return shape;
}

}  // namespace

TEST_CASE("a pair product's sums are chains of the instruction, and go on from what C holds",
          "[kernels]") {
  if (!runs_pairs()) {
    WARN("skipped: without AVX512_BF16 and vector kernels of its level");
    return;
  }
  for (const bool packs_a : {false, true})
    for (const bool continues : {false, true})
      for (const int64_t rows : {1, 7, 8, 13, 40})
        for (const int64_t columns : {1, 16, 31, 32, 50, 97})
          for (const int64_t k : {1, 2, 31, 32, 67, 1030}) {
            ProductShape shape = shape_of(rows, columns, k, false, false);
            const Halves a = random_halves(rows * shape.a_row, 1),
                         b = random_halves(k * shape.b_row, 2);
            const Operands operands{shape, a, b};
            Room panels_a(2 * static_cast<size_t>(panel_elements(rows, k))),
                panels_b(2 * static_cast<size_t>(panel_elements(columns, k)));
            ThreadPool pool(1);
            pack_panels(pool, shape, a.data(), panels_a.at(), b.data(), panels_b.at());
            const std::vector<float> before = random_values(rows * shape.c_row, 3);
            std::vector<float> c = before, want = before;
            for (int64_t i = 0; i < rows; ++i)
              for (int64_t j = 0; j < columns; ++j) {
                float& x = want[static_cast<size_t>(i * shape.c_row + j)];
                x = operands.chain(i, j, continues ? x : 0.0f);
              }
            vector_kernels().pair_product(
                {.rows = rows,
                 .columns = columns,
                 .k = k,
                 .a = packs_a ? static_cast<const uint16_t*>(panels_a.at()) : a.data(),
                 .a_row = packs_a ? 0 : shape.a_row,
                 .b = static_cast<const uint16_t*>(panels_b.at()),
                 .c = c.data(),
                 .c_row = shape.c_row,
                 .continues = continues});
            INFO(rows << " x " << columns << " x " << k << (packs_a ? ", A packed" : ""));
            REQUIRE(c == want);
          }
}

TEST_CASE("a product by pairs is the same chains in whatever tiles and parts, and however it lies",
          "[kernels]") {
  if (bf16_way() != Bf16Way::kPairs) {
    WARN("skipped: products of bf16 go another way on this processor");
    return;
  }
  enum class Packing { kByTiles, kByWorkers, kBefore };
  struct Case {
    int64_t m, n, k;
    Packing packing;
  };
  for (const auto& [m, n, k, packing] :
       {Case{1, 5, 3, Packing::kByTiles}, Case{70, 200, 65, Packing::kByTiles},
        Case{150, 800, 130, Packing::kByWorkers}, Case{140, 330, 2000, Packing::kByWorkers},
        Case{130, 140, 7999, Packing::kBefore}, Case{40, 70, 2101, Packing::kByWorkers},
        Case{9, 40, 8301, Packing::kByWorkers}})
    for (const bool a_turned : {false, true})
      for (const bool b_turned : {false, true}) {
        const ProductShape shape = shape_of(m, n, k, a_turned, b_turned);
        const Halves a = random_halves((m + kGap) * (k + kGap), 4),
                     b = random_halves((n + kGap) * (k + kGap), 5);
        const Operands operands{shape, a, b};
        const std::vector<float> before = random_values(m * shape.c_row, 6);
        std::vector<float> sums = before, added = before;
        Halves rounded(before.size(), 0);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            const auto at = static_cast<size_t>(i * shape.c_row + j);
            sums[at] = operands.chain(i, j, 0);
            added[at] += sums[at];
            rounded[at] = Bf16(sums[at]).bits();
          }
        for (const int threads : {1, 3}) {
          INFO(m << " x " << n << " x " << k << ", turned " << a_turned << b_turned << ", threads "
                 << threads);
          Products products(threads);
          ThreadPool pool(threads);
          const Gemm gemm(products, shape);
          REQUIRE(gemm.in_parts() == (k > 8192 || (a_turned && k >= 2048)));
          if (!gemm.in_parts()) {
            REQUIRE(gemm.grid().owns_b == (packing == Packing::kByWorkers));
            REQUIRE(gemm.grid().packs_b == (packing == Packing::kBefore));
          }
          Room scratch(gemm.run_scratch_bytes(threads));
          const Factors factors{a.data(), b.data()};
          std::vector<float> c = before;
          gemm.run(pool, factors, c.data(), Store::kOverwrite, scratch.at());
          REQUIRE(c == sums);
          c = before;
          gemm.run(pool, factors, c.data(), Store::kAdd, scratch.at());
          REQUIRE(c == added);
          Halves halves(before.size(), 0);
          gemm.run_rounded(pool, factors, halves.data(), scratch.at());
          REQUIRE(halves == rounded);
        }
      }
}

#endif
