// Products of a few rows: against double precision, and the promises about their bits.
#include <catch2/catch.hpp>

#include <cmath>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/cpu/gemm.h"

using namespace levanter;
using namespace levanter::cpu;

namespace {

constexpr double kTolerance = 5e-6;  // times sqrt(k): sums of k products of normal numbers
constexpr float kPoison = -12345.0f;

std::vector<float> random_values(int64_t n, uint64_t seed) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i)
    values.push_back(Bf16(normal(key_from_seed(seed), static_cast<uint64_t>(i))));
  return values;
}

/// A product with gaps between rows of x and y, and of w where w_gap is not 0.
struct Case {
  int64_t rows, columns, k;
  MatrixOrder order;
  int64_t w_gap;
  static constexpr int64_t kGap = 3;

  int64_t w_stride() const { return (order == MatrixOrder::kRows ? columns : k) + w_gap; }
  int64_t w_size() const { return w_stride() * (order == MatrixOrder::kRows ? k : columns); }
};

struct Operands {
  explicit Operands(const Case& c)
      : x(random_values(c.rows * (c.k + Case::kGap), 1)),
        w(random_values(c.w_size(), 2)),
        narrow(w.begin(), w.end()) {}
  std::vector<float> x, w;
  std::vector<Bf16> narrow;
};

std::vector<float> run(const VectorKernels& kernels, const Case& c, const Operands& o, DType dtype,
                       int64_t first_row, int64_t rows) {
  std::vector<float> y(static_cast<size_t>(rows * (c.columns + Case::kGap)), kPoison);
  SmallMProduct p;
  p.rows = rows;
  p.columns = c.columns;
  p.k = c.k;
  p.x = o.x.data() + first_row * (c.k + Case::kGap);
  p.x_row = c.k + Case::kGap;
  p.w = dtype == DType::f32 ? static_cast<const void*>(o.w.data()) : o.narrow.data();
  p.w_stride = c.w_stride();
  p.y = y.data();
  p.y_row = c.columns + Case::kGap;
  (dtype == DType::f32 ? kernels.small_m : kernels.small_m_bf16)[static_cast<size_t>(c.order)](p);
  return y;
}

void check_values(const Case& c, const Operands& o, const std::vector<float>& y) {
  double worst = 0;
  bool kept = true;
  for (int64_t r = 0; r < c.rows; ++r)
    for (int64_t j = 0; j < c.columns + Case::kGap; ++j) {
      const float found = y[static_cast<size_t>(r * (c.columns + Case::kGap) + j)];
      if (j >= c.columns) {
        kept = kept && found == kPoison;
        continue;
      }
      double want = 0;
      for (int64_t k = 0; k < c.k; ++k) {
        const int64_t at =
            c.order == MatrixOrder::kRows ? k * c.w_stride() + j : j * c.w_stride() + k;
        want += double{o.x[static_cast<size_t>(r * (c.k + Case::kGap) + k)]} *
                o.w[static_cast<size_t>(at)];
      }
      worst = std::max(worst, std::abs(found - want));
    }
  CHECK(kept);
  CHECK(worst <= kTolerance * std::sqrt(static_cast<double>(c.k)));
}

/// All rows, and the last one alone, on every instruction set.
void check_product(const Case& c) {
  INFO(c.rows << " x " << c.columns << " x " << c.k << ", order " << static_cast<int>(c.order)
              << ", gap " << c.w_gap);
  const Operands o(c);
  const std::vector<float> y = run(*runnable_vector_kernels()[0], c, o, DType::f32, 0, c.rows);
  check_values(c, o, y);
  bool same = true;
  for (const VectorKernels* kernels : runnable_vector_kernels())
    for (const DType dtype : {DType::f32, DType::bf16}) {
      same = same && run(*kernels, c, o, dtype, 0, c.rows) == y;
      const std::vector<float> last = run(*kernels, c, o, dtype, c.rows - 1, 1);
      same = same && std::equal(last.begin(), last.end(), y.end() - std::ssize(last));
    }
  CHECK(same);
}

}  // namespace

TEST_CASE("few rows are multiplied right, and each as if it were alone", "[kernels]") {
  for (const MatrixOrder order : {MatrixOrder::kRows, MatrixOrder::kColumns})
    for (const int64_t gap : {int64_t{0}, Case::kGap})
      for (const int64_t rows : {1, 3, 4, 9})
        for (const int64_t columns : {1, 15, 16, 37, 70})
          for (const int64_t k : {0, 1, 7, 16, 50, 64, 131})
            check_product({rows, columns, k, order, gap});
}

TEST_CASE("rows of results near and past what the first cache holds are multiplied right",
          "[kernels]") {
  for (const int64_t rows : {1, 3})
    for (const int64_t columns : {1535, 1536, 1537, 3000})
      check_product({rows, columns, 19, MatrixOrder::kRows, 0});
}

TEST_CASE("a row's product does not depend on the rows beside it, nor on threads", "[kernels]") {
  for (const bool transposed : {false, true})
    for (const DType dtype : {DType::f32, DType::bf16}) {
      constexpr int64_t kColumns = 1100, kK = 200;  // in parts of k where B's rows are long
      const auto b = random_values(kColumns * kK, 4), a = random_values(kSmallM * kK, 5);
      const std::vector<Bf16> narrow_a(a.begin(), a.end()), narrow_b(b.begin(), b.end());
      const auto product = [&](int64_t first, int64_t rows, int threads) {
        ProductShape shape{rows, kColumns, kK};
        shape.a_row = kK;
        shape.c_row = kColumns;
        shape.factors = dtype;
        shape.b_row = transposed ? 1 : kColumns;
        shape.b_col = transposed ? kK : 1;
        Products products(threads);
        ThreadPool pool(threads);
        const Gemm gemm(products, shape, true);
        CHECK((gemm.grid().part_k > 0) == !transposed);
        std::vector<float> c(static_cast<size_t>(rows * kColumns), kPoison);
        std::vector<float> scratch(gemm.run_scratch_bytes(threads) / sizeof(float));
        const bool wide = dtype == DType::f32;
        const void* x =
            wide ? static_cast<const void*>(a.data() + first * kK) : narrow_a.data() + first * kK;
        gemm.run(pool, {x, wide ? static_cast<const void*>(b.data()) : narrow_b.data()}, c.data(),
                 Store::kOverwrite, scratch.data());
        return c;
      };
      const std::vector<float> all = product(0, kSmallM, 1);
      CHECK(product(0, kSmallM, 3) == all);
      for (const int64_t row : {int64_t{0}, int64_t{7}, kSmallM - 1}) {
        const std::vector<float> one = product(row, 1, 2);
        CHECK(std::equal(one.begin(), one.end(), all.begin() + row * kColumns));
      }
    }
}
