// Products in parts: which parts there are on which instruction set, and the bits that come of
// them.
#include "kernels/cpu/product_parts.h"
#include "support/random_values.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <tuple>
#include <utility>

#include "base/bf16.h"

using namespace levanter;
using levanter::testing::random_values;
using namespace levanter::cpu;

namespace {

constexpr double kTolerance = 5e-6;  // times sqrt(k): sums of k products of normal numbers
/// Small enough to cut small products every way, whatever the machine multiplies by.
constexpr ProductLimits kSmall{32, 64, 96};

ProductShape rows(int64_t m, int64_t n, int64_t k) { return {m, n, k, k, 1, n, 1, n}; }

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
std::unique_ptr<void, FreeDeleter> memory_for(size_t bytes) {
  return std::unique_ptr<void, FreeDeleter>(std::aligned_alloc(64, bytes + 64 - bytes % 64));
}

template <class T>
std::vector<float> multiply(Products& products, const ProductShape& shape, const std::vector<T>& a,
                            const std::vector<T>& b) {
  const Product& product = products.get(shape);
  const auto scratch = memory_for(product.scratch_bytes()),
             packed = memory_for(product.packed_bytes());
  std::vector<float> c(static_cast<size_t>(shape.m * shape.c_row), 7.0f);
  if (shape.packed_b) product.pack(0, b.data(), packed.get(), scratch.get());
  const void* const right = shape.packed_b ? packed.get() : static_cast<const void*>(b.data());
  product.run(0, a.data(), right, c.data(), scratch.get());
  return c;
}

/// A random matrix of bf16, and the same in f32 without the gaps.
std::pair<std::vector<Bf16>, std::vector<float>> spaced(int64_t rows, int64_t columns,
                                                        int64_t row_stride, int64_t column_stride,
                                                        uint64_t seed) {
  const std::vector<float> values = random_values(rows * columns, seed);
  std::vector<Bf16> narrow(
      static_cast<size_t>((rows - 1) * row_stride + (columns - 1) * column_stride + 1));
  std::vector<float> wide(values.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      const Bf16 value(values[static_cast<size_t>(r * columns + c)]);
      narrow[static_cast<size_t>(r * row_stride + c * column_stride)] = value;
      const int64_t at = column_stride == 1 ? r * columns + c : c * rows + r;
      wide[static_cast<size_t>(at)] = static_cast<float>(value);
    }
  return {narrow, wide};
}

}  // namespace

TEST_CASE("bf16 is multiplied in parts by AMX and where it is widened", "[kernels]") {
  CHECK(product_limits(DType::bf16, Bf16Way::kWidened)->k == 1024);
  CHECK_FALSE(product_limits(DType::f32, Bf16Way::kTiles));
  CHECK_FALSE(product_limits(DType::f32, Bf16Way::kWidened));
  CHECK_FALSE(product_limits(DType::bf16, Bf16Way::kPairs));
  CHECK_FALSE(product_limits(DType::bf16, Bf16Way::kLibrary));
  const auto limits = product_limits(DType::bf16, Bf16Way::kTiles);
  REQUIRE(limits);
  const auto cuts = [&](int64_t m, int64_t n, int64_t k) {
    return product_parts(rows(m, n, k), *limits).size();
  };
  CHECK(cuts(128, 384, 1024) == 1);
  CHECK(cuts(1, 65, 70) == 1);
  CHECK(cuts(128, 384, 3072) == 3);
  CHECK(cuts(130, 128, 3072) == 6);
  CHECK(cuts(256, 192, 50257) == 2 * 50);
  CHECK(cuts(64, 3072, 768) == 8);
}

TEST_CASE("parts cover a product once, each within the limits", "[kernels]") {
  for (const ProductShape& shape :
       {rows(130, 128, 3072), rows(1, 1, 1025), rows(257, 385, 2048), rows(129, 4096, 50)}) {
    const ProductLimits limits = *product_limits(DType::bf16, Bf16Way::kTiles);
    int64_t work = 0, begin = 0;
    for (const ProductPart& part : product_parts(shape, limits)) {
      CHECK(part.shape.m <= limits.m);
      CHECK(part.shape.n <= limits.n);
      CHECK(part.shape.k <= limits.k);
      CHECK(part.begin % 32 == 0);
      CHECK((part.column + part.shape.n <= shape.n && part.row + part.shape.m <= shape.m));
      CHECK(part.begin + part.shape.k <= shape.k);
      CHECK((part.begin >= begin || part.begin == 0));  // along k in ascending order
      begin = part.begin;
      work += part.shape.m * part.shape.n * part.shape.k;
    }
    CHECK(work == shape.m * shape.n * shape.k);
  }
}

TEST_CASE("where k is cut does not depend on the other extents or on how the factors lie",
          "[kernels]") {
  const ProductLimits limits = *product_limits(DType::bf16, Bf16Way::kTiles);
  const auto begins = [&](const ProductShape& shape) {
    std::vector<int64_t> at;
    for (const ProductPart& part : product_parts(shape, limits))
      if (part.row == 0 && part.column == 0) at.push_back(part.begin);
    return at;
  };
  for (const int64_t k : {64, 1024, 1026, 3072, 50257}) {
    const auto expected = begins(rows(128, 384, k));
    CHECK(begins(rows(300, 5000, k)) == expected);
    ProductShape transposed = rows(128, 384, k);
    transposed.a_row = 1;
    transposed.a_col = 128;
    transposed.b_row = 1;
    transposed.b_col = k;
    CHECK(begins(transposed) == expected);
    transposed.packed_b = true;
    CHECK(begins(transposed) == expected);
  }
}

TEST_CASE("a product of bf16 that is widened is that of f32, however its factors lie",
          "[kernels]") {
  if (bf16_way() != Bf16Way::kWidened) {
    WARN("skipped: this processor multiplies bf16 itself; ONEDNN_MAX_CPU_ISA=AVX2 forbids it");
    return;
  }
  Products products(1);
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{64, 96, 300}, {33, 80, 97}, {5, 3, 1}})
    for (const int64_t gap : {0, 7})
      for (const bool a_turned : {false, true})
        for (const bool b_turned : {false, true}) {
          INFO(m << " x " << n << " x " << k << ", " << gap << a_turned << b_turned);
          ProductShape narrow = rows(m, n, k), wide = narrow;
          narrow.factors = DType::bf16;
          if (a_turned) std::tie(wide.a_row, wide.a_col) = std::pair(1, m);
          if (b_turned) std::tie(wide.b_row, wide.b_col) = std::pair(1, k);
          narrow.a_row = wide.a_row + (a_turned ? 0 : gap);
          narrow.a_col = wide.a_col + (a_turned ? gap : 0);
          narrow.b_row = wide.b_row + (b_turned ? 0 : gap);
          narrow.b_col = wide.b_col + (b_turned ? gap : 0);
          const auto [a, wide_a] = spaced(m, k, narrow.a_row, narrow.a_col, 1);
          const auto [b, wide_b] = spaced(k, n, narrow.b_row, narrow.b_col, 2);
          const std::vector<float> c = multiply(products, narrow, a, b);
          REQUIRE(c == multiply(products, wide, wide_a, wide_b));
          if (a_turned || gap > 0 || k == 1) continue;  // takes no packed factor
          narrow.packed_b = true;
          REQUIRE(multiply(products, narrow, a, b) == c);
        }
}

TEST_CASE("parts of widened factors are products of f32, added in order", "[kernels]") {
  if (bf16_way() != Bf16Way::kWidened) {
    WARN("skipped: this processor multiplies bf16 itself; ONEDNN_MAX_CPU_ISA=AVX2 forbids it");
    return;
  }
  constexpr int64_t kRows = 300, kColumns = 500, kTerms = 2100;
  Products products(1);
  ProductShape narrow = rows(kRows, kColumns, kTerms);
  narrow.factors = DType::bf16;
  narrow.c_row += 3;
  const auto [a, wide_a] = spaced(kRows, kTerms, kTerms, 1, 1);
  const auto [b, wide_b] = spaced(kTerms, kColumns, kColumns, 1, 2);
  const std::vector<float> c = multiply(products, narrow, a, b);
  std::vector<float> sums(kRows * kColumns);
  const std::vector<int64_t> along =
      cuts(kTerms, product_limits(DType::bf16, Bf16Way::kWidened)->k);
  REQUIRE(along.size() == 4);
  for (size_t part = 0; part + 1 < along.size(); ++part) {
    const int64_t first = along[part], k = along[part + 1] - first;
    std::vector<float> left;
    for (int64_t row = 0; row < kRows; ++row)
      left.insert(left.end(), wide_a.begin() + row * kTerms + first,
                  wide_a.begin() + row * kTerms + first + k);
    const std::vector<float> right(wide_b.begin() + first * kColumns,
                                   wide_b.begin() + (first + k) * kColumns);
    const std::vector<float> product = multiply(products, rows(kRows, kColumns, k), left, right);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += product[i];
  }
  for (int64_t row = 0; row < kRows; ++row)
    for (int64_t column = 0; column < kColumns; ++column)
      REQUIRE(std::abs(c[static_cast<size_t>(row * narrow.c_row + column)] -
                       sums[static_cast<size_t>(row * kColumns + column)]) <=
              kTolerance * std::sqrt(static_cast<double>(kTerms)));
  narrow.packed_b = true;
  REQUIRE(multiply(products, narrow, a, b) == c);
}

TEST_CASE("a product in parts has one result, packed or not, and the right one", "[kernels]") {
  Products whole(1), cut(1, kSmall);
  // No part of one column: of that the library adds up a spaced factor otherwise than a packed one.
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{32, 64, 96},
                                {33, 80, 97},
                                {70, 130, 300},
                                {1, 200, 500},
                                {100, 1, 200}}) {
    INFO(m << " x " << n << " x " << k);
    const std::vector<float> a = random_values(m * k, 1), b = random_values(k * n, 2);
    const ProductShape shape = rows(m, n, k);
    const std::vector<float> c = multiply(cut, shape, a, b), want = multiply(whole, shape, a, b);
    for (size_t i = 0; i < c.size(); ++i)
      REQUIRE(std::abs(c[i] - want[i]) <= kTolerance * std::sqrt(static_cast<double>(k)));
    ProductShape packed = shape;
    packed.packed_b = true;
    CHECK(multiply(cut, packed, a, b) == c);
    // Rows of A and of C that are apart, and what stands between those of C.
    ProductShape apart = shape;
    apart.a_row = k + 5;
    apart.c_row = n + 3;
    std::vector<float> spaced(static_cast<size_t>(m * apart.a_row));
    for (int64_t row = 0; row < m; ++row)
      std::copy_n(a.data() + row * k, k, spaced.data() + row * apart.a_row);
    if (product_parts(shape, kSmall).size() == 1) continue;  // then it is oneDNN's to choose
    const std::vector<float> wide = multiply(cut, apart, spaced, b);
    for (int64_t row = 0; row < m; ++row) {
      REQUIRE(std::equal(c.data() + row * n, c.data() + (row + 1) * n,
                         wide.data() + row * apart.c_row));
      for (int64_t gap = n; gap < apart.c_row; ++gap)
        REQUIRE(wide[static_cast<size_t>(row * apart.c_row + gap)] == 7.0f);
    }
  }
}

TEST_CASE("the sums of the parts are added in ascending order of k", "[kernels]") {
  Products whole(1), cut(1, kSmall);
  const int64_t m = 20, n = 40, k = 250;
  const std::vector<float> a = random_values(m * k, 3), b = random_values(k * n, 4);
  std::vector<float> want;
  for (const ProductPart& part : product_parts(rows(m, n, k), kSmall)) {
    std::vector<float> left;
    for (int64_t row = 0; row < m; ++row)
      left.insert(left.end(), a.begin() + row * k + part.begin,
                  a.begin() + row * k + part.begin + part.shape.k);
    const std::vector<float> right(b.begin() + part.begin * n, b.end());
    const std::vector<float> sum = multiply(whole, part.shape, left, right);
    if (want.empty()) want.assign(sum.size(), 0.0f);
    for (size_t i = 0; i < sum.size(); ++i) want[i] = part.begin == 0 ? sum[i] : want[i] + sum[i];
  }
  CHECK(multiply(cut, rows(m, n, k), a, b) == want);
}
