// Products of bf16 by AMX tiles: every bit, by emulated tiles on every machine and by the
// processor's where it has some.
#include "kernels/cpu/tile_product.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "base/bf16.h"
#include "base/processor.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/product_parts.h"
#include "kernels/cpu/tile_loops.h"
#include "support/emulated_tiles.h"

using namespace levanter;
using namespace levanter::cpu;

namespace {

constexpr TileKernel kEmulated = multiply_in_tiles<levanter::testing::EmulatedTiles>;

constexpr float kPoison = -12345.0f;
constexpr int64_t kGap = 3;  // between rows

using Halves = std::vector<uint16_t>;

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
std::unique_ptr<void, FreeDeleter> memory_for(size_t bytes) {
  return std::unique_ptr<void, FreeDeleter>(std::aligned_alloc(64, bytes + 64 - bytes % 64));
}

enum class Values {
  kNormal,
  kExtreme,  ///< half of them with products about the least normal number, others far from it
};

Halves random_halves(int64_t n, uint32_t seed, Values values) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Halves halves(static_cast<size_t>(n));
  for (uint16_t& half : halves) {
    const int near = static_cast<int>(random() % 12) - 68;
    const int far = static_cast<int>(random() % 190) - 140;
    const int exponent = random() % 2 == 0 ? near : far;
    half = Bf16(std::ldexp(normal(random), values == Values::kExtreme ? exponent : 0)).bits();
  }
  return halves;
}

float value(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

/// A denormal number is taken as, and becomes, 0 of its sign.
float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

/// The chain of tile products over `k` terms, with the processor's own fused multiply-add.
float chain(const uint16_t* a, int64_t a_col, const uint16_t* b, int64_t b_row, int64_t k) {
  float sum = 0;
  for (int64_t step = 0; step < k; step += kTileDepth) {
    float even = 0, odd = 0;
    for (int64_t i = step; i < std::min(k, step + kTileDepth); ++i) {
      float& half = i % 2 == 0 ? even : odd;
      half = flush(std::fma(flush(value(a[i * a_col])), flush(value(b[i * b_row])), half));
    }
    sum = flush(sum + flush(even + odd));
  }
  return sum;
}

/// C[row, column] as the library is given it by AMX: a chain for each part of k, added in order.
float plain_sum(const ProductShape& s, const Halves& a, const Halves& b, int64_t row,
                int64_t column) {
  float sum = 0;
  for (const ProductPart& part : product_parts(s, *product_limits(DType::bf16, Bf16Way::kTiles))) {
    if (part.row != 0 || part.column != 0) continue;
    const float one =
        chain(a.data() + row * s.a_row + part.begin * s.a_col, s.a_col,
              b.data() + part.begin * s.b_row + column * s.b_col, s.b_row, part.shape.k);
    sum = part.begin == 0 ? one : sum + one;
  }
  return sum;
}

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

ProductShape shape_of(int64_t m, int64_t n, int64_t k, MatrixOrder a = MatrixOrder::kRows,
                      MatrixOrder b = MatrixOrder::kRows, int64_t gap = 0) {
  ProductShape shape{.m = m, .n = n, .k = k, .c_row = n + gap, .factors = DType::bf16};
  const bool a_rows = a == MatrixOrder::kRows, b_rows = b == MatrixOrder::kRows;
  shape.a_row = a_rows ? k + gap : 1;
  shape.a_col = a_rows ? 1 : m + gap;
  shape.b_row = b_rows ? n + gap : 1;
  shape.b_col = b_rows ? 1 : k + gap;
  return shape;
}

struct Operands {
  Halves a, b;
};
/// Room for any way in which they can lie.
Operands operands_of(int64_t m, int64_t n, int64_t k, Values values, int64_t gap = 0) {
  return {random_halves((m + gap) * (k + gap), 1, values),
          random_halves((k + gap) * (n + gap), 2, values)};
}

struct Packed {
  std::unique_ptr<void, FreeDeleter> a, b;

  Packed(const ProductShape& shape, const Operands& operands)
      : a(memory_for(2 * static_cast<size_t>(panel_elements(shape.m, shape.k)))),
        b(memory_for(2 * static_cast<size_t>(panel_elements(shape.n, shape.k)))) {
    ThreadPool pool(1);
    pack_panels(pool, shape, operands.a.data(), a.get(), operands.b.data(), b.get());
  }
};

std::vector<float> multiply(TileKernel tiles, const ProductShape& shape, const Packed& packed) {
  const std::vector<int64_t> parts = cuts(shape.k, product_limits(DType::bf16, Bf16Way::kTiles)->k);
  std::vector<float> c(static_cast<size_t>(shape.m * shape.c_row), kPoison);
  const auto scratch = memory_for(kTileScratchBytes);
  tiles({.rows = shape.m,
         .columns = shape.n,
         .parts = parts,
         .a = static_cast<const uint16_t*>(packed.a.get()),
         .b = static_cast<const uint16_t*>(packed.b.get()),
         .c = c.data(),
         .c_row = shape.c_row},
        static_cast<float*>(scratch.get()));
  return c;
}

/// Tails of every extent, one part of k and several, the last one short.
const ProductShape kShapes[] = {shape_of(1, 1, 31),     shape_of(16, 15, 32),
                                shape_of(15, 33, 511),  shape_of(33, 65, 1024),
                                shape_of(65, 16, 1025), shape_of(33, 15, 2100)};

/// A whole product; with kAdd to what `c` holds.
std::vector<float> run(TileKernel tiles, const ProductShape& shape, const Operands& operands,
                       int threads, Store store = Store::kOverwrite, std::vector<float> c = {}) {
  Products products(threads, {}, tiles);
  const Gemm gemm(products, shape);
  REQUIRE(gemm.grid().tile_kernel == tiles);
  ThreadPool pool(threads);
  const auto scratch = memory_for(gemm.run_scratch_bytes(threads));
  if (c.empty()) c.assign(static_cast<size_t>(shape.m * shape.c_row), kPoison);
  gemm.run(pool, {operands.a.data(), operands.b.data()}, c.data(), store, scratch.get());
  return c;
}

// As small as a product that goes this way can be, with tails.
constexpr int64_t kM = 300, kN = 390, kK = 1031;

/// The factor of extents [rows, columns] that lies by rows, by columns instead, each with a gap.
Halves transposed(const Halves& from, int64_t rows, int64_t columns, int64_t gap) {
  Halves to(static_cast<size_t>(columns * (rows + gap)));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      to[static_cast<size_t>(c * (rows + gap) + r)] =
          from[static_cast<size_t>(r * (columns + gap) + c)];
  return to;
}

bool has_hardware() {
  return bf16_way() == Bf16Way::kTiles && may_use_tiles() &&
         std::string_view(vector_kernels().isa) == "v4";
}

}  // namespace

TEST_CASE("either factor is packed into panels of tiles, however it lies, on every instruction set",
          "[kernels]") {
  for (const int64_t extent : {1, 15, 33, 64, 200})
    for (const int64_t k : {1, 2, 31, 32, 65, 130})
      for (const auto order : {MatrixOrder::kRows, MatrixOrder::kColumns})
        for (const auto operand : {FactorSide::kA, FactorSide::kB}) {
          const bool k_adjacent = order == MatrixOrder::kColumns;
          const int64_t stride = (k_adjacent ? k : extent) + kGap;
          const Halves from =
              random_halves((std::max(extent, k) + kGap) * stride, 3, Values::kNormal);
          const int64_t panels = (extent + 31) / 32, steps = (k + 31) / 32;
          Halves want(static_cast<size_t>(panel_elements(extent, k)), 0);
          REQUIRE(want.size() == static_cast<size_t>(panels * steps * 1024));
          for (int64_t i = 0; i < extent; ++i)
            for (int64_t t = 0; t < k; ++t) {
              const int64_t tile = (i / 32 * steps + t / 32) * 2 + i % 32 / 16;
              const int64_t row = i % 16, pair = t % 32 / 2;
              const int64_t word = operand == FactorSide::kA ? row * 16 + pair : pair * 16 + row;
              want[static_cast<size_t>(tile * 512 + word * 2 + t % 2)] =
                  from[static_cast<size_t>(k_adjacent ? i * stride + t : t * stride + i)];
            }
          for (const VectorKernels* kernels : runnable_vector_kernels()) {
            Halves got(want.size(), 0xffff);
            const int64_t middle = panels / 2;
            for (const auto& [begin, end] : {std::pair{int64_t{0}, middle}, {middle, panels}})
              kernels->pack_panels[static_cast<size_t>(order)](
                  {operand, extent, k, from.data(), stride, got.data(), begin, end});
            INFO(kernels->isa << ": " << extent << " x " << k);
            REQUIRE(got == want);
          }
        }
}

TEST_CASE("sums by emulated tiles are chains of fused, flushed pairs for each part of k",
          "[kernels]") {
  for (const Values values : {Values::kNormal, Values::kExtreme})
    for (ProductShape shape : kShapes) {
      const Operands operands = operands_of(shape.m, shape.n, shape.k, values);
      shape.c_row = shape.n + kGap;
      const Packed packed(shape, operands);
      std::vector<float> want(static_cast<size_t>(shape.m * shape.c_row), kPoison);
      for (int64_t i = 0; i < shape.m; ++i)
        for (int64_t j = 0; j < shape.n; ++j)
          want[static_cast<size_t>(i * shape.c_row + j)] =
              plain_sum(shape, operands.a, operands.b, i, j);
      const std::vector<float> c = multiply(kEmulated, shape, packed);
      INFO(shape.m << " x " << shape.n << " x " << shape.k);
      REQUIRE(std::equal(c.begin(), c.end(), want.begin(), want.end(), same_bits));
    }
}

TEST_CASE("an emulated product of tiles flushes what is denormal and keeps the sign of 0",
          "[kernels]") {
  const auto product = [](uint16_t a, uint16_t b) {
    const ProductShape shape = shape_of(1, 1, 1);
    return multiply(kEmulated, shape, Packed(shape, {{a}, {b}}))[0];
  };
  const uint16_t least = 0x0080, denormal = 0x007f, one = 0x3f80, half = 0x3f00, huge = 0x7f00;
  CHECK(product(least, one) == value(least));
  CHECK(product(least, half) == 0.0f);     // a denormal result
  CHECK(product(denormal, huge) == 0.0f);  // a denormal factor
  CHECK(product(huge, huge) == INFINITY);
  CHECK(std::isnan(product(0x7f80, denormal)));  // infinity times 0
}

TEST_CASE("the trial of a processor's tiles knows their bits from others", "[kernels]") {
  CHECK(has_known_bits(kEmulated));
  CHECK_FALSE(has_known_bits([](const TileProduct& product, float* scratch) {
    kEmulated(product, scratch);
    product.c[product.rows * product.c_row - 1] *= 1.0000001f;
  }));
}

TEST_CASE("large products of bf16 alone go by tiles, cut by their shape", "[kernels]") {
  const auto grid = [](const ProductShape& shape) { return tile_grid(shape, false, kEmulated); };
  for (const ProductShape& shape :
       {shape_of(4096, 768, 768), shape_of(768, 768, 4096, MatrixOrder::kColumns),
        shape_of(512, 50304, 768), shape_of(50257, 768, 512, MatrixOrder::kColumns),
        shape_of(kM, kN, kK)}) {
    const TileGrid g = grid(shape);
    INFO(shape.m << " x " << shape.n << " x " << shape.k);
    CHECK(g.tile_kernel == kEmulated);
    CHECK((g.tile_m <= 256 && g.tile_n <= 768 && g.tile_m * g.tile_n <= 256 * 512));
    CHECK((g.tiles_m == 1 || g.tile_m % 32 == 0));
    CHECK((g.tiles_n == 1 || g.tile_n % 32 == 0));
    CHECK(((g.tiles_m - 1) * g.tile_m < shape.m && g.tiles_m * g.tile_m >= shape.m));
    CHECK(((g.tiles_n - 1) * g.tile_n < shape.n && g.tiles_n * g.tile_n >= shape.n));
    CHECK((g.tiles_m * g.tiles_n >= 12 || shape.m == kM));
    CHECK(tile_grid(shape).tile_kernel == nullptr);
  }
  ProductShape f32 = shape_of(4096, 768, 768);
  f32.factors = DType::f32;
  CHECK(grid(f32).tile_kernel == nullptr);
  CHECK(grid(shape_of(256, 256, 256)).tile_kernel == nullptr);
  CHECK(grid(shape_of(128, 4096, 768)).tile_kernel == nullptr);
  CHECK(grid(shape_of(4096, 256, 4096)).tile_kernel == nullptr);
  CHECK(grid(shape_of(4096, 4096, 32)).tile_kernel == nullptr);
  // Logits: what the library reads as it lies would be packed from memory for few rows.
  const auto logits = [&](int64_t rows) {
    return grid(shape_of(rows, 50257, 768, MatrixOrder::kRows, MatrixOrder::kColumns)).tile_kernel;
  };
  CHECK(logits(512) == nullptr);
  CHECK(grid(shape_of(512, 768, 50257)).tile_kernel == nullptr);
  CHECK(logits(1024) == kEmulated);
  // The library would multiply its last row alone, with other bits.
  CHECK(grid(shape_of(2049, 768, 768)).tile_kernel == nullptr);
}

TEST_CASE("a whole product by emulated tiles is the plain one, however its factors lie",
          "[kernels]") {
  const ProductShape shape = shape_of(kM, kN, kK, MatrixOrder::kRows, MatrixOrder::kRows, kGap);
  const Operands rows = operands_of(kM, kN, kK, Values::kNormal, kGap);
  const std::vector<float> c = run(kEmulated, shape, rows, 1);
  bool equal = true, kept = true;
  for (int64_t i = 0; i < kM; ++i)
    for (int64_t j = 0; j < shape.c_row; ++j) {
      const float got = c[static_cast<size_t>(i * shape.c_row + j)];
      if (j >= kN)
        kept = kept && got == kPoison;
      else if ((i + j) % 13 == 0)
        equal = equal && same_bits(got, plain_sum(shape, rows.a, rows.b, i, j));
    }
  REQUIRE(equal);
  REQUIRE(kept);
  const Halves a = transposed(rows.a, kM, kK, kGap), b = transposed(rows.b, kK, kN, kGap);
  for (const auto a_order : {MatrixOrder::kRows, MatrixOrder::kColumns})
    for (const auto b_order : {MatrixOrder::kRows, MatrixOrder::kColumns}) {
      const Operands operands = {a_order == MatrixOrder::kRows ? rows.a : a,
                                 b_order == MatrixOrder::kRows ? rows.b : b};
      CHECK(run(kEmulated, shape_of(kM, kN, kK, a_order, b_order, kGap), operands, 2) == c);
    }
}

TEST_CASE("by tiles too adding is a product and one addition, on any number of threads",
          "[kernels]") {
  const ProductShape shape = shape_of(kM, kN, kK);
  const Operands operands = operands_of(kM, kN, kK, Values::kNormal);
  const std::vector<float> c = run(kEmulated, shape, operands, 1);
  CHECK(run(kEmulated, shape, operands, 3) == c);
  std::vector<float> before(c.size()), sum(c.size());
  for (size_t i = 0; i < c.size(); ++i) {
    before[i] = static_cast<float>(i % 17) - 8.0f;
    sum[i] = before[i] + c[i];
  }
  CHECK(run(kEmulated, shape, operands, 2, Store::kAdd, before) == sum);
}

TEST_CASE("tiles of C made by tiles can be had one by one", "[kernels]") {
  const ProductShape shape = shape_of(kM, kN, kK);
  const Operands operands = operands_of(kM, kN, kK, Values::kNormal);
  const std::vector<float> want = run(kEmulated, shape, operands, 1);
  Products products(1, {}, kEmulated);
  const Gemm gemm(products, shape);
  ThreadPool pool(1);
  const auto packed = memory_for(gemm.run_scratch_bytes(1));
  const auto scratch = memory_for(gemm.scratch_bytes_per_worker());
  const Factors ready = gemm.pack(pool, {operands.a.data(), operands.b.data()}, packed.get());
  std::vector<float> c(want.size(), kPoison);
  for (int64_t index = gemm.tiles(); index-- > 0;) {
    const Tile tile = gemm.multiply(index, 0, ready, scratch.get());
    for (int64_t r = 0; r < tile.rows; ++r)
      std::copy_n(tile.values + r * tile.columns, tile.columns,
                  c.data() + (tile.row + r) * kN + tile.column);
  }
  CHECK(c == want);
}

TEST_CASE("the processor's tiles give the emulated ones' bits, and the library's", "[kernels]") {
  if (!has_hardware()) {
    WARN("skipped: this processor has no tiles for bf16, or they may not be used");
    return;
  }
  REQUIRE(usable_tiles() != nullptr);
  for (const Values values : {Values::kNormal, Values::kExtreme})
    for (ProductShape shape : kShapes) {
      shape.c_row = shape.n + kGap;
      const Packed packed(shape, operands_of(shape.m, shape.n, shape.k, values));
      const std::vector<float> c = multiply(usable_tiles(), shape, packed),
                               want = multiply(kEmulated, shape, packed);
      INFO(shape.m << " x " << shape.n << " x " << shape.k);
      REQUIRE(std::equal(c.begin(), c.end(), want.begin(), want.end(), same_bits));
    }
  for (const auto& [m, n, k] :
       {std::tuple{kM, kN, kK}, {512, 768, 768}, {384, 1536, 4096}, {300, 3000, 200}})
    for (const auto a : {MatrixOrder::kRows, MatrixOrder::kColumns})
      for (const auto b : {MatrixOrder::kRows, MatrixOrder::kColumns}) {
        const ProductShape shape = shape_of(m, n, k, a, b);
        const Operands operands = operands_of(m, n, k, Values::kNormal);
        INFO(m << " x " << n << " x " << k);
        REQUIRE(run(usable_tiles(), shape, operands, 2) == run(nullptr, shape, operands, 2));
      }
}
