// Vector kernels against double precision, and the instruction sets against one another.
#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/cpu/vector.h"
#include "ops/elementwise/value.h"
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

double ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0.0 : INFINITY;
  if (std::isinf(static_cast<float>(want))) return got == static_cast<float>(want) ? 0.0 : INFINITY;
  int exponent;
  std::frexp(std::max(std::abs(want), double{std::numeric_limits<float>::min()}), &exponent);
  return std::abs(got - want) / std::ldexp(1.0, exponent - 24);
}

double reference(UnaryOp op, double x) {
  switch (op) {
    case UnaryOp::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case UnaryOp::kGeluErf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case UnaryOp::kRoundBf16:
      return Bf16(static_cast<float>(x));
  }
  return NAN;
}

double reference(BinaryOp op, double a, double b) {
  const auto slope = [b](UnaryOp gelu) {
    constexpr double kStep = 1e-5;
    return (reference(gelu, b + kStep) - reference(gelu, b - kStep)) / (2 * kStep);
  };
  return a * slope(op == BinaryOp::kGeluTanhGrad ? UnaryOp::kGeluTanh : UnaryOp::kGeluErf);
}

/// What place `op` of the table of two operands computes.
double reference_of_two(size_t op, double a, double b) {
  return op < kMapOpcodes ? map_value(static_cast<Map>(op), a, b)
                          : reference(static_cast<BinaryOp>(op), a, b);
}

/// Values over all magnitudes, with the special ones.
std::vector<float> probes() {
  std::vector<float> values = {
      0.0f,  -0.0f,       1.0f,       -1.0f,           INFINITY,      -INFINITY,
      NAN,   1e-45f,      -1e-45f,    1.17549435e-38f, 3.4028235e38f, -3.4028235e38f,
      88.7f, 88.8f,       -87.4f,     -103.9f,         -104.1f,       9.01f,
      4.0f,  0.70710678f, 1.41421356f};
  for (uint64_t word = 0; word < (uint64_t{1} << 32); word += 200003) {
    values.push_back(std::bit_cast<float>(static_cast<uint32_t>(word)));
  }
  for (int i = -4000; i <= 4000; ++i) values.push_back(static_cast<float>(i) * 0.005f);
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return false;
  }
  return true;
}

double largest(const std::vector<double>& values) {
  double most = 1e-30;
  for (double value : values) most = std::max(most, std::abs(value));
  return most;
}

void check_near(const std::vector<float>& got, const std::vector<double>& want, double tolerance) {
  REQUIRE(got.size() == want.size());
  const double scale = largest(want);
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("element " << i << " is " << got[i] << ", wanted " << want[i]);
    REQUIRE(std::abs(got[i] - want[i]) <= tolerance * scale);
  }
}

}  // namespace

TEST_CASE("unary kernels are within their stated ulp everywhere", "[kernels]") {
  const std::vector<float> x = probes();
  const auto n = static_cast<int64_t>(x.size());
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (size_t op = 0; op < kMapOpcodes; ++op) {
      const auto what = static_cast<Map>(op);
      REQUIRE((kernels->unary[op] != nullptr) == (arity(what) == 1));
      REQUIRE((kernels->binary[op] != nullptr) == (arity(what) == 2));
      if (arity(what) != 1) continue;
      Guarded y(n);
      kernels->unary[op](y.data(), x.data(), n);
      REQUIRE(y.intact());
      const std::vector<float> got = y.content();
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = map_value(what, double{x[i]});
        if (what == Map::kSigmoid && want < 1.2e-38) {
          REQUIRE(std::abs(got[i]) <= 1.2e-38f);
          continue;
        }
        INFO(kernels->isa << " " << name_of(what) << " at " << x[i] << ": " << got[i] << " for "
                          << want);
        REQUIRE(ulps(got[i], want) <= row_of(what).ulp);
      }
    }
  }
}

TEST_CASE("gelu and its slope are accurate to a few roundings", "[kernels]") {
  const VectorKernels& kernels = vector_kernels();
  std::vector<float> x, dy;
  for (int i = -3000; i <= 3000; ++i) x.push_back(static_cast<float>(i) * 0.01f);
  dy.assign(x.size(), 1.0f);
  const auto n = static_cast<int64_t>(x.size());
  for (const UnaryOp op : {UnaryOp::kGeluTanh, UnaryOp::kGeluErf}) {
    Guarded y(n), slope(n);
    kernels.unary[static_cast<size_t>(op)](y.data(), x.data(), n);
    const auto grad = op == UnaryOp::kGeluTanh ? BinaryOp::kGeluTanhGrad : BinaryOp::kGeluErfGrad;
    kernels.binary[static_cast<size_t>(grad)](slope.data(), dy.data(), 1, x.data(), 1, n);
    REQUIRE(y.intact());
    REQUIRE(slope.intact());
    for (size_t i = 0; i < x.size(); ++i) {
      INFO("x = " << x[i]);
      REQUIRE(std::abs(y.content()[i] - reference(op, x[i])) <=
              3e-7 * std::max(1.0f, std::abs(x[i])));
      REQUIRE(std::abs(slope.content()[i] - reference(grad, 1.0, x[i])) <= 2e-6);
    }
  }
}

TEST_CASE("spans of every length and operand form agree with double precision", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const int64_t n : kSizes) {
      std::vector<float> a = random_values(n, 1), b = random_values(n, 2);
      for (int64_t i = 0; i < n; i += 3)
        b[static_cast<size_t>(i)] = i % 2 ? 0.0f : a[static_cast<size_t>(i)];
      for (size_t op = 0; op < kBinaryOps; ++op) {
        if (!kernels->binary[op]) continue;
        for (int form = 0; form < 4; ++form) {
          const int64_t a_step = form & 1, b_step = form >> 1;
          Guarded y(n);
          kernels->binary[op](y.data(), a.data(), a_step, b.data(), b_step, n);
          REQUIRE(y.intact());
          std::vector<double> want;
          for (int64_t i = 0; i < n; ++i) {
            want.push_back(reference_of_two(op, a[static_cast<size_t>(i * a_step)],
                                            b[static_cast<size_t>(i * b_step)]));
          }
          for (size_t i = 0; i < want.size(); ++i) {
            INFO(kernels->isa << " op " << op << " form " << form << " n " << n << " element "
                              << i);
            if (!std::isfinite(want[i])) {
              REQUIRE(ulps(y.content()[i], want[i]) == 0.0);
            } else if (op < kMapOpcodes) {
              REQUIRE(ulps(y.content()[i], want[i]) <= kMapRows[op].ulp);
            } else {
              REQUIRE(std::abs(y.content()[i] - want[i]) <=
                      3e-6 * std::max(1.0, std::abs(want[i])));
            }
          }
        }
      }
      std::vector<float> condition = a;
      for (size_t i = 0; i < condition.size(); i += 2) condition[i] = 0.0f;
      Guarded y(n);
      kernels->select(y.data(), condition.data(), 1, a.data(), 0, b.data(), 1, n);
      REQUIRE(y.intact());
      for (size_t i = 0; i < a.size(); ++i) {
        REQUIRE(y.content()[i] == (condition[i] != 0.0f ? a[0] : b[i]));
      }
    }
  }
}

TEST_CASE("maxima, minima and the reductions treat NaN as they say", "[kernels]") {
  const VectorKernels& kernels = vector_kernels();
  for (const int64_t n : {1, 5, 16, 40}) {
    std::vector<float> a = random_values(n, 3), one(static_cast<size_t>(n), 1.0f), y(one);
    REQUIRE(kernels.max(a.data(), n) == *std::max_element(a.begin(), a.end()));
    a[static_cast<size_t>(n / 2)] = NAN;
    REQUIRE(std::isnan(kernels.max(a.data(), n)));
    for (const Map op : {Map::kMax, Map::kMin}) {
      kernels.binary[static_cast<size_t>(op)](y.data(), a.data(), 1, one.data(), 1, n);
      REQUIRE(std::isnan(y[static_cast<size_t>(n / 2)]));
      kernels.binary[static_cast<size_t>(op)](y.data(), one.data(), 1, a.data(), 1, n);
      REQUIRE(std::isnan(y[static_cast<size_t>(n / 2)]));
    }
  }
  REQUIRE(kernels.max(nullptr, 0) == -INFINITY);
  REQUIRE(kernels.sum(nullptr, 0) == 0.0f);
}

TEST_CASE("sums, products of spans and sums over rows agree with double precision", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const int64_t n : kSizes) {
      const std::vector<float> a = random_values(n, 4), b = random_values(n, 5);
      double sum = 0, squares = 0, product = 0, size = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        sum += a[i];
        squares += double{a[i]} * a[i];
        product += double{a[i]} * b[i];
        size += std::abs(a[i]);
      }
      REQUIRE(std::abs(kernels->sum(a.data(), n) - sum) <= 1e-6 * size);
      REQUIRE(std::abs(kernels->sum_squares(a.data(), n) - squares) <= 1e-6 * squares);
      REQUIRE(std::abs(kernels->dot(a.data(), b.data(), n) - product) <= 1e-6 * (size + squares));
      Guarded y(a), scaled(n);
      kernels->add_to(y.data(), b.data(), n);
      kernels->scale(scaled.data(), a.data(), 3.0f, n);
      REQUIRE((y.intact() && scaled.intact()));
      for (size_t i = 0; i < a.size(); ++i) {
        REQUIRE(y.content()[i] == a[i] + b[i]);
        REQUIRE(scaled.content()[i] == 3.0f * a[i]);
      }
      constexpr int64_t kRows = 37;
      const int64_t stride = n + 3;
      const std::vector<float> rows = random_values(kRows * stride, 6);
      Guarded columns(n);
      kernels->sum_rows(columns.data(), rows.data(), stride, kRows, n);
      REQUIRE(columns.intact());
      for (int64_t c = 0; c < n; ++c) {
        float want = 0;  // the order is promised, so equality holds
        for (int64_t r = 0; r < kRows; ++r) want += rows[static_cast<size_t>(r * stride + c)];
        REQUIRE(columns.content()[static_cast<size_t>(c)] == want);
      }
    }
  }
}

TEST_CASE("layer and RMS norm and their gradients agree with double precision", "[kernels]") {
  const Centre centre = GENERATE(Centre::kYes, Centre::kNo);
  const bool centred = centre == Centre::kYes;
  constexpr int64_t kRows = 5;
  constexpr double kEpsilon = 1e-5;
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const int64_t n : kSizes) {
      if (n < 3) continue;  // two elements are always 1 and -1 after the norm, and the gradient 0
      const auto width = static_cast<size_t>(n);
      std::vector<float> x = random_values(kRows * n, 7);
      for (float& value : x) value += 3.0f;
      const std::vector<float> dy = random_values(kRows * n, 8), weight = random_values(n, 9);
      const std::vector<float> bias = random_values(n, 10);
      Guarded y(kRows * n), mean(kRows), rstd(kRows), dx(kRows * n), dweight(n), dbias(n);
      kernels->layer_norm(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(),
                          kRows, n, static_cast<float>(kEpsilon), centre);
      kernels->layer_norm_backward(dx.data(), dy.data(), x.data(), mean.data(), rstd.data(),
                                   weight.data(), kRows, n, centre);
      std::fill_n(dweight.data(), n, 0.0f);
      std::fill_n(dbias.data(), n, 0.0f);
      kernels->layer_norm_weight_block(dweight.data(), dbias.data(), dy.data(), x.data(),
                                       mean.data(), rstd.data(), kRows, n);
      std::vector<double> y_want, dx_want, dweight_want(width), dbias_want(width);
      for (size_t r = 0; r < kRows; ++r) {
        double center = 0, variance = 0, mean_g = 0, mean_gh = 0;
        for (size_t c = 0; c < width; ++c) center += centred ? x[r * width + c] / double(n) : 0;
        for (size_t c = 0; c < width; ++c)
          variance += std::pow(x[r * width + c] - center, 2) / double(n);
        const double inverse = 1 / std::sqrt(variance + kEpsilon);
        for (size_t c = 0; c < width; ++c) {
          const double h = (x[r * width + c] - center) * inverse, g = dy[r * width + c];
          y_want.push_back(h * weight[c] + bias[c]);
          mean_g += centred ? g * weight[c] / double(n) : 0,
              mean_gh += g * weight[c] * h / double(n);
          dweight_want[c] += g * h;
          dbias_want[c] += g;
        }
        for (size_t c = 0; c < width; ++c) {
          const double h = (x[r * width + c] - center) * inverse,
                       g = double{dy[r * width + c]} * weight[c];
          dx_want.push_back(inverse * (g - mean_g - h * mean_gh));
        }
      }
      INFO(kernels->isa << " width " << n);
      REQUIRE((y.intact() && mean.intact() && rstd.intact() && dx.intact() && dweight.intact() &&
               dbias.intact()));
      check_near(y.content(), y_want, kRowTolerance);
      check_near(dx.content(), dx_want, 2 * kRowTolerance);
      check_near(dweight.content(), dweight_want, 2 * kRowTolerance);
      check_near(dbias.content(), dbias_want, kRowTolerance);
    }
  }
}

TEST_CASE("layer norm works without weight and bias, and in place", "[kernels]") {
  const VectorKernels& kernels = vector_kernels();
  std::vector<float> x = random_values(19, 11), y(19), ones(19, 1.0f), zeros(19, 0.0f);
  float mean, rstd;
  kernels.layer_norm(y.data(), &mean, &rstd, x.data(), ones.data(), zeros.data(), 1, 19, 1e-5f,
                     Centre::kYes);
  kernels.layer_norm(x.data(), &mean, &rstd, x.data(), nullptr, nullptr, 1, 19, 1e-5f,
                     Centre::kYes);
  REQUIRE(same_bits(x, y));
}

TEST_CASE("adamw follows its formula", "[kernels]") {
  const AdamwConstants c = {1e-2f, 0.9f, 0.999f, 0.1f, 1e-3f, 1e-8f, 0.1f, 0.1f, 0.01f, 0.5f};
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const int64_t n : kSizes) {
      const std::vector<float> p = random_values(n, 16), m = random_values(n, 17, 0.1);
      const std::vector<float> grad = random_values(n, 18);
      std::vector<float> v = random_values(n, 19, 0.1);
      for (float& value : v) value *= value;
      Guarded p_got(p), m_got(m), v_got(v);
      kernels->adamw(p_got.data(), m_got.data(), v_got.data(), grad.data(), n, c);
      std::vector<double> p_want, m_want, v_want;
      for (size_t i = 0; i < p.size(); ++i) {
        const double g = 0.5 * grad[i];
        m_want.push_back(0.9 * m[i] + (1 - 0.9) * g);
        v_want.push_back(0.999 * v[i] + (1 - 0.999) * g * g);
        const double step = m_want[i] / 0.1 / (std::sqrt(v_want[i] / 0.01) + 1e-8);
        p_want.push_back(p[i] - 0.01 * (step + 0.1 * p[i]));
      }
      REQUIRE((p_got.intact() && m_got.intact() && v_got.intact()));
      check_near(p_got.content(), p_want, kRowTolerance);
      check_near(m_got.content(), m_want, kRowTolerance);
      check_near(v_got.content(), v_want, kRowTolerance);
    }
  }
}

TEST_CASE("random spans equal the scalar Threefry, and dropout its rule", "[kernels]") {
  const Key key = {0x1234567u, 0x89abcdefu};
  constexpr float kKeep = 0.8f;
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const uint64_t first : {uint64_t{0}, uint64_t{12345}, (uint64_t{1} << 32) - 21}) {
      constexpr int64_t kCount = 75;
      const RandomSpan random = {key.hi, key.lo, first};
      const std::vector<float> a = random_values(kCount, 20);
      std::vector<uint32_t> words(kCount);
      Guarded u(kCount), dropped(kCount);
      kernels->random_bits(words.data(), kCount, random);
      kernels->random_uniform(u.data(), kCount, random);
      kernels->dropout(dropped.data(), a.data(), kCount, kKeep, random);
      REQUIRE((u.intact() && dropped.intact()));
      for (size_t i = 0; i < kCount; ++i) {
        const uint32_t want = levanter::random_bits(key, first + i);
        REQUIRE(words[i] == want);
        REQUIRE(u.content()[i] == uniform_from_bits(want));
        REQUIRE(dropped.content()[i] == (u.content()[i] < kKeep ? a[i] / kKeep : 0.0f));
      }
    }
  }
}

TEST_CASE("all instruction sets give the same bits", "[kernels]") {
  const std::vector<float> x = probes();
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> other = random_values(n, 21);
  const auto tables = runnable_vector_kernels();
  const auto results = [&](const VectorKernels& kernels) {
    std::vector<float> all, y(x.size());
    const auto keep = [&] { all.insert(all.end(), y.begin(), y.end()); };
    for (size_t op = 0; op < kUnaryOps; ++op) {
      if (!kernels.unary[op]) continue;
      kernels.unary[op](y.data(), x.data(), n);
      keep();
    }
    for (size_t op = 0; op < kBinaryOps; ++op) {
      if (!kernels.binary[op]) continue;
      kernels.binary[op](y.data(), x.data(), 1, other.data(), 1, n);
      keep();
    }
    for (const int64_t size : kSizes) {
      std::vector<float> row(other.begin(), other.begin() + 3 * size), dx(row.size());
      float mean[3], rstd[3], loss;
      all.push_back(kernels.sum(row.data(), size));
      all.push_back(kernels.sum_squares(row.data(), size));
      all.push_back(kernels.dot(row.data(), row.data() + size, size));
      kernels.layer_norm(dx.data(), mean, rstd, row.data(), row.data(), nullptr, 3, size, 1e-5f,
                         Centre::kYes);
      all.insert(all.end(), dx.begin(), dx.end());
      kernels.layer_norm_backward(dx.data(), other.data(), row.data(), mean, rstd, row.data(), 3,
                                  size, Centre::kYes);
      all.insert(all.end(), dx.begin(), dx.end());
      kernels.layer_norm_weight_block(dx.data(), dx.data() + size, other.data(), row.data(), mean,
                                      rstd, 3, size);
      all.insert(all.end(), dx.begin(), dx.end());
      float* const logits = row.data() + 2 * size;
      all.push_back(
          kernels.cross_entropy(logits, logits, size, {size / 2, 0.1f, 0.01f, 3.0f, true}, &loss));
      all.insert(all.end(), row.begin(), row.end());
      std::vector<float> p(other.begin(), other.begin() + size), m(p), v(p);
      for (float& value : v) value *= value;
      kernels.adamw(p.data(), m.data(), v.data(), other.data(), size,
                    {1e-3f, 0.9f, 0.95f, 0.1f, 0.05f, 1e-8f, 0.1f, 0.3f, 0.2f, 1.0f});
      all.insert(all.end(), p.begin(), p.end());
    }
    return all;
  };
  const std::vector<float> first = results(*tables[0]);
  for (const VectorKernels* kernels : tables) {
    INFO(tables[0]->isa << " against " << kernels->isa);
    REQUIRE(same_bits(first, results(*kernels)));
  }
}

TEST_CASE("a transposed matrix has its columns as rows, on every level", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels()) {
    for (const auto& [rows, columns] :
         {std::pair<int64_t, int64_t>{1, 1}, {16, 16}, {17, 33}, {64, 5}, {3, 100}, {48, 31}}) {
      const int64_t x_row = columns + 3, y_row = rows + 2;
      std::vector<uint32_t> x4(static_cast<size_t>(rows * x_row)), y4(columns * y_row, 7);
      for (size_t i = 0; i < x4.size(); ++i) x4[i] = static_cast<uint32_t>(i * 2654435761u);
      std::vector<uint16_t> x2(x4.begin(), x4.end()), y2(columns * y_row, 7);
      kernels->transpose_4(y4.data(), y_row, x4.data(), x_row, rows, columns);
      kernels->transpose_2(y2.data(), y_row, x2.data(), x_row, rows, columns);
      bool equal = true;
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t r = 0; r < y_row; ++r) {
          const auto to = static_cast<size_t>(c * y_row + r);
          const auto from = static_cast<size_t>(r * x_row + c);
          equal = equal && y4[to] == (r < rows ? x4[from] : 7u);
          equal = equal && y2[to] == (r < rows ? x2[from] : 7u);
        }
      }
      INFO(kernels->isa << " " << rows << " x " << columns);
      REQUIRE(equal);
    }
  }
}
