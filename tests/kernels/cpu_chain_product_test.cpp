// Products as chains of fused multiply-adds: every bit, on every instruction set.
#include <catch2/catch.hpp>

#include <cmath>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "support/random_values.h"

using namespace levanter;
using levanter::testing::random_values;
using namespace levanter::cpu;

namespace {

constexpr int64_t kGap = 3;  // between rows

std::vector<float> chains(ChainProduct p, const std::vector<float>& a, const std::vector<float>& b,
                          std::vector<float> c) {
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t j = 0; j < p.columns; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < p.k; ++k)
        sum = std::fma(a[static_cast<size_t>(i * p.a_row + k)],
                       b[static_cast<size_t>(k * p.b_row + j)], sum);
      c[static_cast<size_t>(i * p.c_row + j)] = sum;
    }
  return c;
}

}  // namespace

TEST_CASE("a chain product's sums are chains in the order of k, on every instruction set",
          "[kernels]") {
  for (const int64_t rows : {1, 4, 6, 11, 12, 29})
    for (const int64_t columns : {1, 16, 31, 32, 50, 97})
      for (const int64_t k : {1, 2, 67}) {
        ChainProduct p{.rows = rows, .columns = columns, .k = k};
        p.a_row = k + kGap;
        p.b_row = p.c_row = columns + kGap;
        const std::vector<float> a = random_values(rows * p.a_row, 1),
                                 b = random_values(k * p.b_row, 2),
                                 c = random_values(rows * p.c_row, 3), want = chains(p, a, b, c);
        for (const VectorKernels* kernels : runnable_vector_kernels()) {
          if (kernels->chain_product == nullptr) continue;
          std::vector<float> got = c;
          p.a = a.data();
          p.b = b.data();
          p.c = got.data();
          kernels->chain_product(p);
          INFO(kernels->isa << ": " << rows << " x " << columns << " x " << k);
          REQUIRE(got == want);
        }
      }
}

TEST_CASE("a product of few elements is the same chain in whatever tile and however B lies",
          "[kernels]") {
  if (!is_chain_product({1, 1, 1, 1, 1, 1, 1, 1})) {
    WARN("skipped: without AVX-512 such products are the library's");
    return;
  }
  const int64_t m = 130, n = 200, k = 300;
  const std::vector<float> a = random_values(m * k, 4), b = random_values(k * n, 5);
  std::vector<float> turned(b.size());
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < n; ++j)
      turned[static_cast<size_t>(j * k + i)] = b[static_cast<size_t>(i * n + j)];
  ChainProduct p{.rows = m, .columns = n, .k = k, .a_row = k, .b_row = n, .c_row = n};
  const std::vector<float> want = chains(p, a, b, std::vector<float>(static_cast<size_t>(m * n)));
  for (const bool transposed : {false, true}) {
    ProductShape shape{m, n, k, k, 1, transposed ? 1 : n, transposed ? k : 1, n};
    REQUIRE(tile_grid(shape).turns_b == transposed);
    REQUIRE(tile_grid(shape).tiles_m > 1);
    for (const int threads : {1, 3}) {
      Products products(threads);
      ThreadPool pool(threads);
      const Gemm gemm(products, shape);
      std::vector<float> c(static_cast<size_t>(m * n)),
          scratch(gemm.run_scratch_bytes(threads) / sizeof(float) + 16);
      const auto at = reinterpret_cast<uintptr_t>(scratch.data());
      gemm.run(pool, {a.data(), transposed ? turned.data() : b.data()}, c.data(), Store::kOverwrite,
               scratch.data() + (64 - at % 64) % 64 / sizeof(float));
      REQUIRE(c == want);
    }
  }
}
