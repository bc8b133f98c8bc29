// The kernels of attention's tiles and of cross entropy's rows against double precision.
#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/cpu/vector.h"
#include "support/guarded.h"

using namespace levanter;
using namespace levanter::cpu;
using namespace levanter::testing;

namespace {

constexpr int64_t kSizes[] = {1, 2, 3, 7, 13, 15, 16, 17, 31, 61, 64, 65, 127, 128, 251, 400};
constexpr double kRowTolerance = 2e-6;  // of the largest value of a row, for a few roundings

std::vector<float> random_values(int64_t n, uint32_t seed, double scale = 1.0) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(scale * normal(generator));
  return values;
}

}  // namespace

namespace {

/// A tile of scores in some place of the mask.
struct TileCase {
  int64_t keys, queries, diagonal, window;
  float soft_cap = 0, keep = 1;
  bool segments = false;
};

const std::vector<TileCase> kTiles = {
    {1, 16, 0, 1 << 20},        {7, 16, 3, 1 << 20},
    {64, 64, 0, 1 << 20},       {131, 64, 67, 1 << 20},
    {40, 32, 1 << 20, 2 << 20}, {70, 48, 6, 9},
    {33, 16, -20, 1 << 20},     {70, 48, 30, 1, 5.0f},
    {20, 32, -3, 50, 0, 0.8f},  {50, 32, 18, 20, 2.0f, 0.7f, true},
};

struct TileArrays {
  std::vector<int32_t> key_segments, query_segments;
  ScoreTile tile;
  explicit TileArrays(const TileCase& c) {
    for (int32_t i = 0; i < c.keys; ++i) key_segments.push_back(i / 9);
    for (int32_t i = 0; i < c.queries; ++i) query_segments.push_back(i % 4);
    tile = {.keys = c.keys, .queries = c.queries, .scale = 0.3f, .soft_cap = c.soft_cap};
    tile.diagonal = c.diagonal;
    tile.window = c.window;
    tile.keep = c.keep;
    if (c.segments) {
      tile.key_segments = key_segments.data();
      tile.query_segments = query_segments.data();
    }
    tile.random = {7, 9, (uint64_t{1} << 32) - 300};
    tile.counters = 11;
  }
  bool seen(int64_t r, int64_t c) const {
    const bool inside = r - c <= tile.diagonal && r - c > tile.diagonal - tile.window;
    return inside && (tile.key_segments == nullptr || tile.key_segments[r] == query_segments[c]);
  }
  bool kept(int64_t r, int64_t c) const {
    const Key key = {tile.random.key_hi, tile.random.key_lo};
    const uint64_t counter = tile.random.counter + static_cast<uint64_t>(r + c * tile.counters);
    return tile.keep == 1 || uniform_from_bits(random_bits(key, counter)) < tile.keep;
  }
  /// The score, and its derivative by 0.3 q.k.
  std::pair<double, double> score(double product) const {
    const double x = double{tile.scale} * product, cap = tile.soft_cap;
    if (cap == 0) return {x, 1};
    return {cap * std::tanh(x / cap), 1 - std::tanh(x / cap) * std::tanh(x / cap)};
  }
};

}  // namespace

TEST_CASE("the softmax of a tile respects mask, cap and dropout, column by column", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const TileCase& c : kTiles) {
      const TileArrays arrays(c);
      const std::vector<float> products = random_values(c.keys * c.queries, 12, 5.0);
      Guarded s(products), norm(c.queries), lse(c.queries);
      kernels->attention_softmax(s.data(), s.data(), norm.data(), lse.data(), arrays.tile);
      INFO(kernels->isa << " keys " << c.keys << " queries " << c.queries << " diagonal "
                        << c.diagonal << " window " << c.window);
      REQUIRE((s.intact() && norm.intact() && lse.intact()));
      const std::vector<float> got = s.content();
      for (int64_t q = 0; q < c.queries; ++q) {
        const auto column = static_cast<size_t>(q);
        double total = 0;
        for (int64_t r = 0; r < c.keys; ++r) {
          const double x = arrays.score(products[static_cast<size_t>(r * c.queries + q)]).first;
          total += arrays.seen(r, q) ? std::exp(x) : 0;
        }
        if (total == 0) REQUIRE(lse.content()[column] == -INFINITY);
        if (total > 0) REQUIRE(std::abs(lse.content()[column] - std::log(total)) <= 5e-6);
        for (int64_t r = 0; r < c.keys; ++r) {
          const size_t at = static_cast<size_t>(r * c.queries + q);
          const bool there = arrays.seen(r, q) && arrays.kept(r, q);
          const double want =
              there ? std::exp(arrays.score(products[at]).first) / total / c.keep : 0;
          REQUIRE(std::abs(got[at] * norm.content()[column] - want) <= kRowTolerance);
          if (!there) REQUIRE(got[at] == 0.0f);
        }
      }
    }
  }
}

TEST_CASE("the backward pass of a tile recomputes probabilities and their gradient", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const TileCase& c : kTiles) {
      const TileArrays arrays(c);
      const int64_t n = c.keys * c.queries;
      const std::vector<float> products = random_values(n, 12, 5.0), dp = random_values(n, 13);
      const std::vector<float> delta = random_values(c.queries, 14);
      std::vector<float> lse(static_cast<size_t>(c.queries), 9.0f);
      lse[3] = INFINITY;  // a column that is not there
      Guarded s(products), ds(dp);
      kernels->attention_backward(s.data(), ds.data(), s.data(), ds.data(), lse.data(),
                                  delta.data(), arrays.tile);
      INFO(kernels->isa << " keys " << c.keys << " queries " << c.queries << " diagonal "
                        << c.diagonal << " window " << c.window);
      REQUIRE((s.intact() && ds.intact()));
      for (int64_t r = 0; r < c.keys; ++r) {
        for (int64_t q = 0; q < c.queries; ++q) {
          const size_t at = static_cast<size_t>(r * c.queries + q), column = static_cast<size_t>(q);
          const auto [x, slope] = arrays.score(products[at]);
          const double p = arrays.seen(r, q) ? std::exp(x - lse[column]) : 0;
          const double kept = arrays.kept(r, q) ? 1 : 0;
          const double want = p * (kept / c.keep * dp[at] - delta[column]) * slope;
          REQUIRE(std::abs(s.content()[at] - kept * p) <= kRowTolerance);
          REQUIRE(std::abs(ds.content()[at] - want) <= 3 * kRowTolerance);
          if (p == 0) REQUIRE((s.content()[at] == 0.0f && ds.content()[at] == 0.0f));
        }
      }
    }
  }
}

TEST_CASE("a NaN score spreads over its column only", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    std::vector<float> s = random_values(20 * 16, 14), norm(16), lse(16);
    s[5 * 16 + 3] = NAN;
    const ScoreTile tile = {.keys = 20, .queries = 16};
    kernels->attention_softmax(s.data(), s.data(), norm.data(), lse.data(), tile);
    for (size_t c = 0; c < 16; ++c) {
      REQUIRE(std::isnan(norm[c]) == (c == 3));
      REQUIRE(std::isnan(lse[c]) == (c == 3));
    }
  }
}

TEST_CASE("row kernels that store bf16 round what the others store", "[kernels]") {
  const auto rounded = [](const std::vector<float>& values) {
    std::vector<uint16_t> halves;
    for (float value : values) halves.push_back(Bf16(value).bits());
    return halves;
  };
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const TileCase& c : kTiles) {
      const TileArrays arrays(c);
      const int64_t n = c.keys * c.queries;
      const std::vector<float> s = random_values(n, 12, 5.0), dp = random_values(n, 13);
      std::vector<float> p = s, ds = dp, used = s, norm(static_cast<size_t>(c.queries)), lse(norm);
      std::vector<uint16_t> p_bits(p.size(), 0xffff), ds_bits(p_bits);
      kernels->attention_softmax(p.data(), p.data(), norm.data(), lse.data(), arrays.tile);
      kernels->attention_softmax_bf16(p_bits.data(), used.data(), norm.data(), lse.data(),
                                      arrays.tile);
      REQUIRE(p_bits == rounded(p));
      for (float& value : lse) value = std::isinf(value) ? INFINITY : value;
      kernels->attention_backward(p.data(), ds.data(), s.data(), dp.data(), lse.data(), norm.data(),
                                  arrays.tile);
      kernels->attention_backward_bf16(p_bits.data(), ds_bits.data(), s.data(), dp.data(),
                                       lse.data(), norm.data(), arrays.tile);
      REQUIRE(p_bits == rounded(p));
      REQUIRE(ds_bits == rounded(ds));
    }
    for (const int64_t n : kSizes) {
      std::vector<float> row = random_values(n, 15, 4.0), used = row;
      std::vector<uint16_t> bits(row.size() + 1, 0xabcd);
      const CrossEntropyRow of = {n / 2, 0.01f, 0.02f, 3.0f, true};
      float loss, again;
      kernels->cross_entropy(row.data(), row.data(), n, of, &loss);
      kernels->cross_entropy_bf16(bits.data(), used.data(), n, of, &again);
      REQUIRE(loss == again);
      REQUIRE(bits.back() == 0xabcd);
      bits.pop_back();
      REQUIRE(bits == rounded(row));
    }
  }
}

TEST_CASE("a transpose leaves the values and scales by column", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const int64_t rows : {1, 4, 7, 16, 33}) {
      for (const int64_t columns : {1, 3, 8, 19, 64}) {
        const int64_t from_stride = columns + 3, to_stride = rows + 2;
        const std::vector<float> from = random_values(rows * from_stride, 5),
                                 factor = random_values(columns, 6);
        for (const bool scaled : {false, true}) {
          std::vector<float> to(static_cast<size_t>(columns * to_stride), kPoison);
          kernels->transpose(to.data(), to_stride, from.data(), from_stride, rows, columns,
                             scaled ? factor.data() : nullptr);
          for (int64_t c = 0; c < columns; ++c) {
            for (int64_t r = 0; r < to_stride; ++r) {
              const float value = from[static_cast<size_t>(r % rows * from_stride + c)];
              const float want = scaled ? value * factor[static_cast<size_t>(c)] : value;
              REQUIRE(to[static_cast<size_t>(c * to_stride + r)] == (r < rows ? want : kPoison));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("cross entropy of a row agrees with double precision", "[kernels]") {
  constexpr float kScale = 0.01f;
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const int64_t n : kSizes) {
      for (const float cap : {0.0f, 4.0f}) {
        for (const float z_loss : {0.0f, 0.02f}) {
          for (const double spread : {1.0, 30.0}) {
            const std::vector<float> products = random_values(n, 15, spread);
            const auto target = static_cast<size_t>(n / 2);
            std::vector<double> logits, want;
            for (float x : products) logits.push_back(cap > 0 ? cap * std::tanh(x / cap) : x);
            const double top = *std::max_element(logits.begin(), logits.end());
            double total = 0;
            for (double x : logits) total += std::exp(x - top);
            const double lse_want = top + std::log(total);
            for (size_t i = 0; i < logits.size(); ++i) {
              const double p = std::exp(logits[i] - lse_want);
              const double slope = cap > 0 ? 1 - logits[i] / cap * logits[i] / cap : 1;
              const double g = p * (1 + 2 * z_loss * lse_want) - (i == target);
              want.push_back(kScale * g * slope);
            }
            CrossEntropyRow of = {static_cast<int64_t>(target), kScale, z_loss, cap, true};
            Guarded row(products), kept(products);
            float loss, only_loss;
            const float lse = kernels->cross_entropy(row.data(), row.data(), n, of, &loss);
            of.gradient = false;
            kernels->cross_entropy(kept.data(), kept.data(), n, of, &only_loss);
            INFO(kernels->isa << " n " << n << " spread " << spread << " cap " << cap << " z "
                              << z_loss);
            REQUIRE((row.intact() && kept.intact()));
            REQUIRE(loss == only_loss);
            if (cap == 0) REQUIRE(kept.content() == products);
            REQUIRE(std::abs(lse - lse_want) <= 1e-6 * std::max(1.0, std::abs(lse_want)));
            const double loss_want = lse_want - logits[target];
            REQUIRE(std::abs(loss - loss_want) <= 1e-6 * std::max(1.0, loss_want));
            for (size_t i = 0; i < want.size(); ++i) {
              REQUIRE(std::abs(row.content()[i] - want[i]) <= kRowTolerance * kScale);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("all instruction sets give a tile the same bits", "[kernels]") {
  const auto results = [](const VectorKernels& kernels) {
    std::vector<uint32_t> all;
    for (const TileCase& c : kTiles) {
      const TileArrays arrays(c);
      const int64_t size = c.keys * c.queries;
      std::vector<float> s = random_values(size, 22, 3.0), again = s, dp = random_values(size, 23);
      std::vector<float> norm(static_cast<size_t>(c.queries)), lse(norm);
      kernels.attention_softmax(s.data(), s.data(), norm.data(), lse.data(), arrays.tile);
      kernels.attention_backward(again.data(), dp.data(), again.data(), dp.data(), lse.data(),
                                 norm.data(), arrays.tile);
      for (const auto* values : {&s, &norm, &lse, &again, &dp}) {
        for (float value : *values) all.push_back(std::bit_cast<uint32_t>(value));
      }
    }
    return all;
  };
  const auto tables = runnable_vector_kernels();
  for (const VectorKernels* kernels : tables) {
    INFO(tables[0]->isa << " against " << kernels->isa);
    REQUIRE(results(*kernels) == results(*tables[0]));
  }
}
