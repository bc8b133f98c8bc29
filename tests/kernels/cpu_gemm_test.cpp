// Tiled matrix products against double precision, and the promises about their bits.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "base/bf16.h"
#include "kernels/cpu/gemm.h"
#include "support/random_values.h"

using namespace levanter;
using levanter::testing::random_values;
using namespace levanter::cpu;

namespace {

constexpr double kTolerance = 5e-6;  // times sqrt(k): sums of k products of normal numbers
constexpr double kRounding = 1e-6;   // of the values of C
constexpr float kPoison = -12345.0f;

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
std::unique_ptr<void, FreeDeleter> scratch_for(size_t bytes) {
  return std::unique_ptr<void, FreeDeleter>(std::aligned_alloc(64, bytes + 64 - bytes % 64));
}

enum class Order { kRows, kColumns };

/// A case: extents, how each factor lies, and the gap between rows of C.
struct Case {
  int64_t m, n, k;
  Order a = Order::kRows, b = Order::kRows;
  int64_t gap = 0;
};

ProductShape shape_of(const Case& c) {
  ProductShape shape{c.m, c.n, c.k};
  shape.a_row = c.a == Order::kRows ? c.k + c.gap : 1;
  shape.a_col = c.a == Order::kRows ? 1 : c.m + c.gap;
  shape.b_row = c.b == Order::kRows ? c.n + c.gap : 1;
  shape.b_col = c.b == Order::kRows ? 1 : c.k + c.gap;
  shape.c_row = c.n + c.gap;
  return shape;
}

struct Operands {
  std::vector<float> a, b, c;

  /// The values that bf16 keeps: products of them have the tolerance of f32 ones.
  Operands rounded() const {
    Operands r = *this;
    for (auto* values : {&r.a, &r.b})
      for (float& x : *values) x = Bf16(x);
    return r;
  }
};
Operands operands_of(const Case& c, uint32_t seed) {
  const int64_t g = c.gap;
  return {random_values((c.m + g) * (c.k + g), seed),
          random_values((c.k + g) * (c.n + g), seed + 1), random_values(c.m * (c.n + g), seed + 2)};
}

std::vector<float> run(const ProductShape& shape, Store store, const Operands& operands,
                       int threads) {
  Products products(threads);
  const Gemm gemm(products, shape);
  ThreadPool pool(threads);
  const auto scratch = scratch_for(gemm.run_scratch_bytes(threads));
  std::vector<float> c = operands.c;
  const bool narrow = shape.factors == DType::bf16;
  const std::vector<Bf16> a(operands.a.begin(), operands.a.end());
  const std::vector<Bf16> b(operands.b.begin(), operands.b.end());
  const Factors wide{operands.a.data(), operands.b.data()}, rounded{a.data(), b.data()};
  gemm.run(pool, narrow ? rounded : wide, c.data(), store, scratch.get());
  return c;
}

void check_product(const Case& test, const Operands& operands, const std::vector<float>& c,
                   Store store) {
  const ProductShape s = shape_of(test);
  double worst = 0;
  bool kept = true;
  // Of long products every seventh element: all columns and rows have their turns.
  const int64_t every = s.m * s.n * s.k > 30000000 ? 7 : 1;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.c_row; ++j) {
      const auto at = static_cast<size_t>(i * s.c_row + j);
      if (j >= s.n) {
        kept = kept && c[at] == operands.c[at];
        continue;
      }
      if ((i + j) % every != 0) continue;
      double want = store == Store::kAdd ? operands.c[at] : 0.0;
      for (int64_t k = 0; k < s.k; ++k) {
        want += double{operands.a[static_cast<size_t>(i * s.a_row + k * s.a_col)]} *
                operands.b[static_cast<size_t>(k * s.b_row + j * s.b_col)];
      }
      worst = std::max(worst, std::abs(c[at] - want));
    }
  }
  INFO(s.m << " x " << s.n << " x " << s.k);
  REQUIRE(kept);
  REQUIRE(worst <= kTolerance * std::sqrt(static_cast<double>(s.k)) + kRounding);
}

/// Long enough for B to be packed first, both ways that it can lie; in f32 below 2,048 rows only
/// where its lines are 512 elements apart, or a multiple.
const Case kPackedCases[] = {{300, 1030, 390}, {513, 700, 390},  {1030, 257, 390}, {2048, 401, 126},
                             {2100, 770, 70},  {513, 1024, 390}, {2100, 260, 512}};

const Case kCases[] = {
    {1, 1, 1},     {1, 7, 5},      {5, 1, 7},     {7, 5, 1},      {2, 3, 4},
    {13, 17, 19},  {64, 64, 32},   {65, 31, 127}, {100, 65, 128}, {257, 130, 33},
    {33, 400, 70}, {300, 700, 40}, {70, 5000, 9}, {1, 3000, 64},  {200, 129, 500},
};

}  // namespace

TEST_CASE("products agree with double precision in every order and spacing", "[kernels]") {
  for (const Case& base : kCases) {
    for (const Order a : {Order::kRows, Order::kColumns}) {
      for (const Order b : {Order::kRows, Order::kColumns}) {
        for (const int64_t gap : {0, 3}) {
          const Case test = {base.m, base.n, base.k, a, b, gap};
          const Operands operands = operands_of(test, 1);
          for (const Store store : {Store::kOverwrite, Store::kAdd}) {
            check_product(test, operands, run(shape_of(test), store, operands, 2), store);
          }
        }
      }
    }
  }
}

TEST_CASE("products of which only the last tiles are chains agree with double precision",
          "[kernels]") {
  for (const Case& test :
       {Case{256, 2064, 512}, Case{7, 385, 512, Order::kRows, Order::kColumns}}) {
    const Operands operands = operands_of(test, 1);
    check_product(test, operands, run(shape_of(test), Store::kOverwrite, operands, 2),
                  Store::kOverwrite);
  }
}

TEST_CASE("products whose second factor is packed agree with double precision", "[kernels]") {
  for (const Case& base : kPackedCases) {
    for (const Order b : {Order::kRows, Order::kColumns}) {
      for (const Order a : {Order::kRows, Order::kColumns}) {
        const Case test = {base.m, base.n, base.k, a, b, 0};
        const Operands operands = operands_of(test, 5);
        const TileGrid grid = tile_grid(shape_of(test));
        const bool long_enough = base.m >= 2048 || b == Order::kRows;
        const int64_t line = b == Order::kRows ? base.n : base.k;
        const bool gains = base.m >= 2048 || line % 512 == 0;
        REQUIRE(grid.packs_b == (a == Order::kRows && long_enough && base.m >= 512 && gains));
        ProductShape narrow = shape_of(test);
        narrow.factors = DType::bf16;
        REQUIRE(tile_grid(narrow).packs_a == (a == Order::kColumns && long_enough));
        REQUIRE(tile_grid(narrow).packs_b ==
                (long_enough && (base.m >= 512 || a == Order::kColumns)));
        for (const Store store : {Store::kOverwrite, Store::kAdd})
          check_product(test, operands, run(shape_of(test), store, operands, 2), store);
      }
    }
  }
}

TEST_CASE("rows of the first factor that are apart leave the second as it lies", "[kernels]") {
  const Case test = {1030, 509, 390, Order::kRows, Order::kRows, 3};
  REQUIRE_FALSE(tile_grid(shape_of(test)).packs_b);
  const Operands operands = operands_of(test, 8);
  check_product(test, operands, run(shape_of(test), Store::kAdd, operands, 2), Store::kAdd);
}

TEST_CASE("long products of f32 go by tall tiles, and a sum of very many terms is never packed",
          "[kernels]") {
  const auto grid = [](const Case& c) { return tile_grid(shape_of(c)); };
  const TileGrid plain = grid({1024, 768, 3072}), packed = grid({1024, 3072, 768});
  CHECK((plain.tile_m == 256 && plain.tile_n == 384 && !plain.packs_b));
  CHECK((packed.tile_m == 256 && packed.tile_n == 384 && packed.packs_b));
  CHECK(grid({1024, 768, 2304, Order::kRows, Order::kColumns}).tile_m == 256);
  CHECK_FALSE(grid({512, 1024, 50257}).packs_b);
  CHECK(grid({256, 768, 3072}).tile_m < 256);  // of short ones there are tiles enough
}

TEST_CASE("packing changes no bit of a tile", "[kernels]") {
  Products products(1);
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const Case& test :
         {Case{64, 384, 768}, Case{1, 65, 70}, Case{130, 128, 3072}, Case{70, 500, 512}}) {
      ProductShape shape = shape_of(test);
      shape.factors = type;
      const Operands o = operands_of(test, 6).rounded();
      const std::vector<Bf16> a(o.a.begin(), o.a.end()), b(o.b.begin(), o.b.end());
      const bool narrow = type == DType::bf16;
      const void* left = narrow ? static_cast<const void*>(a.data()) : o.a.data();
      const void* right = narrow ? static_cast<const void*>(b.data()) : o.b.data();
      const Product& plain = products.get(shape);
      shape.packed_b = true;
      const Product& packing = products.get(shape);
      const auto scratch = scratch_for(std::max(plain.scratch_bytes(), packing.scratch_bytes()));
      const auto packed = scratch_for(packing.packed_bytes());
      std::vector<float> want(o.c.size()), got(o.c.size());
      plain.run(0, left, right, want.data(), scratch.get());
      packing.pack(0, right, packed.get(), scratch.get());
      packing.run(0, left, packed.get(), got.data(), scratch.get());
      REQUIRE(got == want);
    }
  }
}

TEST_CASE("products of bf16 factors are summed in f32", "[kernels]") {
  for (const auto& cases : {std::span<const Case>(kCases), std::span<const Case>(kPackedCases)}) {
    for (const Case& base : cases) {
      for (const Order a : {Order::kRows, Order::kColumns}) {
        for (const Order b : {Order::kRows, Order::kColumns}) {
          const Case test = {base.m, base.n, base.k, a, b, base.m % 2 == 0 ? 0 : 2};
          ProductShape shape = shape_of(test);
          shape.factors = DType::bf16;
          const Operands operands = operands_of(test, 7).rounded();
          const std::vector<float> c = run(shape, Store::kAdd, operands, 2);
          check_product(test, operands, c, Store::kAdd);
          REQUIRE(run(shape, Store::kAdd, operands, 1) == c);
        }
      }
    }
  }
}

TEST_CASE("adding gives the bits of a product and one addition", "[kernels]") {
  // k beyond 384, and transposed or spaced factors, are where a library's own sum rounds otherwise.
  for (const Case& test :
       {Case{384, 128, 768, Order::kColumns}, Case{100, 300, 1000, Order::kColumns},
        Case{65, 128, 768, Order::kColumns, Order::kRows, 5},
        Case{64, 200, 500, Order::kRows, Order::kColumns, 1},
        Case{90, 4500, 64, Order::kRows, Order::kColumns}, Case{1100, 200, 500}}) {
    const ProductShape shape = shape_of(test);
    const Operands operands = operands_of(test, 2);
    const std::vector<float> product = run(shape, Store::kOverwrite, operands, 1);
    const std::vector<float> added = run(shape, Store::kAdd, operands, 1);
    bool equal = true;
    for (int64_t i = 0; i < test.m; ++i) {
      for (int64_t j = 0; j < test.n; ++j) {
        const auto at = static_cast<size_t>(i * shape.c_row + j);
        equal = equal && added[at] == operands.c[at] + product[at];
      }
    }
    REQUIRE(equal);
  }
}

TEST_CASE("the bits do not depend on threads or on where the rows of C stand", "[kernels]") {
  for (Case test :
       {Case{768, 384, 128, Order::kRows, Order::kColumns}, Case{384, 128, 768, Order::kColumns},
        Case{500, 65, 300}, Case{1100, 700, 90}, Case{600, 700, 300}, Case{600, 1024, 200}}) {
    const ProductShape shape = shape_of(test);
    const Operands operands = operands_of(test, 3);
    const std::vector<float> one = run(shape, Store::kOverwrite, operands, 1);
    for (const int threads : {2, 5})
      REQUIRE(run(shape, Store::kOverwrite, operands, threads) == one);
    ProductShape spaced = shape;
    spaced.c_row = shape.n + 11;
    Operands wide = operands;
    wide.c.assign(static_cast<size_t>(shape.m * spaced.c_row), kPoison);
    const std::vector<float> apart = run(spaced, Store::kOverwrite, wide, 2);
    bool equal = true, kept = true;
    for (int64_t i = 0; i < shape.m; ++i) {
      for (int64_t j = 0; j < spaced.c_row; ++j) {
        const float got = apart[static_cast<size_t>(i * spaced.c_row + j)];
        if (j < shape.n)
          equal = equal && got == one[static_cast<size_t>(i * shape.n + j)];
        else
          kept = kept && got == kPoison;
      }
    }
    REQUIRE(equal);
    REQUIRE(kept);
  }
}

TEST_CASE("a row's product of bf16 has the same bits however many rows there are", "[kernels]") {
  if (bf16_way() != Bf16Way::kWidened || vector_kernels().chain_product == nullptr) {
    WARN("skipped: this processor multiplies bf16 itself, or has no AVX-512");
    return;
  }
  for (const Order b : {Order::kRows, Order::kColumns})
    for (const int64_t k : {96, 512, 700}) {
      INFO(k);
      std::vector<float> first;
      // Widened tile by tile, whole before any, and tile by tile.
      for (const int64_t m : {20, 120, 2100}) {
        const Case test = {m, 256, k, Order::kRows, b};
        ProductShape shape = shape_of(test);
        shape.factors = DType::bf16;
        std::vector<float> c = run(shape, Store::kOverwrite, operands_of(test, 9).rounded(), 2);
        c.resize(20 * 256);
        if (first.empty()) first = c;
        REQUIRE(c == first);
      }
    }
}

TEST_CASE("a result without elements is no work", "[kernels]") {
  Products products(1);
  ThreadPool pool(1);
  for (const Case& test : {Case{0, 4, 3}, Case{4, 0, 3}}) {
    const Gemm gemm(products, shape_of(test));
    REQUIRE(gemm.tiles() == 0);
    gemm.run(pool, {}, nullptr, Store::kOverwrite, nullptr);
  }
}

TEST_CASE("tiles cover the result once and are many enough for large products", "[kernels]") {
  for (const Case& test :
       {Case{768, 384, 128}, Case{4096, 1536, 384}, Case{384, 1536, 4096}, Case{65, 128, 768},
        Case{512, 50257, 768}, Case{1, 2304, 768}, Case{1, 1, 1}}) {
    const TileGrid grid = tile_grid(shape_of(test));
    REQUIRE((grid.tiles_m - 1) * grid.tile_m < test.m);
    REQUIRE(grid.tiles_m * grid.tile_m >= test.m);
    REQUIRE((grid.tiles_n - 1) * grid.tile_n < test.n);
    REQUIRE(grid.tiles_n * grid.tile_n >= test.n);
    if (test.m * test.n * test.k > 30000000) REQUIRE(grid.tiles_m * grid.tiles_n >= 8);
  }
}

TEST_CASE("products of one shape are shared", "[kernels]") {
  Products products(2);
  const ProductShape shape{8, 8, 8, 8, 1, 8, 1, 8};
  REQUIRE(&products.get(shape) == &products.get(shape));
  ProductShape other = shape;
  other.k = 4;
  REQUIRE(&products.get(shape) != &products.get(other));
  REQUIRE(onednn_version().rfind("oneDNN ", 0) == 0);
}
