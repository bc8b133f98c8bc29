#include <cmath>

#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// The eigenvalues and vectors V of x, V^T V, and V diag(values) V^T, which is x.
std::vector<NamedArray> build(const std::vector<NamedArray>& in) {
  const NamedArray x = in[0];
  const auto [values, vectors] = eigh(x, "row", "column");
  const Axes stack = without(values.axes(), "column");
  Axes square = stack;
  square.push_back({"other", x.axes().size_of("row")});
  square.push_back({"column", x.axes().size_of("column")});
  const NamedArray other = rename(vectors, "column", "other");
  const NamedArray again =
      dot(vectors * values, rename(rename(vectors, "row", "other"), "other", "last"), [&] {
        Axes axes = stack;
        axes.push_back({"row", x.axes().size_of("row")});
        axes.push_back({"last", x.axes().size_of("row")});
        return axes;
      }());
  return {values, vectors, dot(other, vectors, square), rename(again, "last", "column")};
}

Axes square(int64_t n) { return {{"row", n}, {"column", n}}; }

/// A symmetric matrix with elements of about 1, of the given rank.
Array symmetric(int64_t n, int64_t rank, uint32_t seed) {
  const Array factors = random_real({{"row", n}, {"rank", rank}}, seed);
  return looped(square(n), [&](const auto& where) {
    double sum = 0;
    for (int64_t k = 0; k < rank; ++k) {
      const double sign = k % 3 == 0 ? -1 : 1;
      sum += sign * at(factors, {{"row", where[0].at}, {"rank", k}}) *
             at(factors, {{"row", where[1].at}, {"rank", k}}) / static_cast<double>(rank) * 3;
    }
    return static_cast<float>(sum);
  });
}

double distance_from_identity(const Array& a) {
  double worst = 0;
  for (const auto& where : indices(a.type.axes))
    worst = std::max(worst, std::abs(at(a, where) - (where[0].at == where[1].at ? 1 : 0)));
  return worst;
}

struct Setting {
  const char* backend;
  DType real;
  double tolerance;
};
/// Products of matrices of about 1 with 150 rows.
constexpr double kF64 = 1e-12, kF32 = 1e-5;
constexpr Setting kSettings[] = {
    {"reference", DType::f64, kF64}, {"reference", DType::f32, kF32}, {"cpu", DType::f32, kF32}};

void check_factors(const Array& x, const Setting& s) {
  const std::vector<Array> y = evaluate(build, {x}, *make_backend(s.backend), s.real);
  CHECK(distance_from_identity(y[2]) <= s.tolerance);
  CHECK(difference(y[3], x) <= s.tolerance * 10);
  for (size_t i = 1; i < y[0].values.size(); ++i) CHECK(y[0].values[i] <= y[0].values[i - 1]);
}

}  // namespace

TEST_CASE("eigh's vectors are orthonormal and make up the matrix, its values fall", "[ops]") {
  for (const int64_t n : {1, 2, 3, 16, 67, 150})
    for (const Setting& s : kSettings) {
      INFO(s.backend << " " << name_of(s.real) << " " << n);
      check_factors(symmetric(n, n, 1), s);
    }
}

TEST_CASE("eigh of matrices with equal eigenvalues, of low rank, and of zeros", "[ops]") {
  for (const Setting& s : kSettings) {
    INFO(s.backend << " " << name_of(s.real));
    check_factors(symmetric(70, 5, 2), s);
    check_factors(array(square(4), std::vector<double>(16, 0)), s);
    check_factors(looped(square(9), [](const auto& w) { return w[0].at == w[1].at ? 2.0 : 0.0; }),
                  s);
    check_factors(looped(square(9), [](const auto&) { return 1.0; }), s);
  }
}

TEST_CASE("eigh of matrices whose eigenvectors are known, read from below the diagonal", "[ops]") {
  // 2 and 1 beside it: 3 along [1, 1], 1 along [1, -1]. What is above the diagonal does not count.
  for (const double scale : {1.0, 1e-30, 1e30})
    for (const Setting& s : kSettings) {
      const Array x = array(square(2), {2 * scale, 77, 1 * scale, 2 * scale});
      const std::vector<Array> y = evaluate(build, {x}, *make_backend(s.backend), s.real);
      const double half = std::sqrt(0.5);
      CHECK(std::abs(y[0].values[0] / scale - 3) <= s.tolerance);
      CHECK(std::abs(y[0].values[1] / scale - 1) <= s.tolerance);
      CHECK(std::abs(y[1].values[0] - half) <= s.tolerance);
      CHECK(std::abs(y[1].values[2] - half) <= s.tolerance);
      CHECK(std::abs(y[1].values[1] * y[1].values[3] + 0.5) <= s.tolerance);
    }
  // -1, 0 and 5 in another order, along the axes.
  const Array diagonal = array(square(3), {0, 0, 0, 0, 5, 0, 0, 0, -1});
  for (const Setting& s : kSettings) {
    const std::vector<Array> y = evaluate(build, {diagonal}, *make_backend(s.backend), s.real);
    CHECK(y[0].values == std::vector<double>{5, 0, -1});
    CHECK(y[1].values == std::vector<double>{0, 1, 0, 1, 0, 0, 0, 0, 1});
  }
}

TEST_CASE("the cpu's eigh agrees with the reference's in every layout, on any number of threads",
          "[ops]") {
  const Backends backends;
  // Products of made-up matrices with themselves; the values, and what is made up of all.
  const Build products = [](const auto& in) {
    const NamedArray x =
        dot(in[0], rename(in[0], "row", "column"), {{"row", 66}, {"a", 3}, {"column", 66}});
    const std::vector<NamedArray> y = build({x});
    return std::vector{y[0] / 66.0, y[3] / 66.0};
  };
  CHECK(worst_error(backends, {{{{"a", 3}, {"row", 66}, {"summed", 200}}}}, products) <= kF32);
}

TEST_CASE("an element that is not finite makes eigh's result NaN", "[ops]") {
  for (const double bad : {NAN, INFINITY})
    for (const Setting& s : kSettings) {
      const Array x = array(square(2), {1, 0, bad, 3});
      const std::vector<Array> y = evaluate(build, {x}, *make_backend(s.backend), s.real);
      for (const size_t i : {0, 1})
        for (const double element : y[i].values) CHECK(std::isnan(element));
    }
}

TEST_CASE("eigh says what does not fit", "[ops]") {
  const Build build = [](const auto& in) {
    return std::vector{eigh(in[0], "row", "column").values};
  };
  CHECK_THAT(trace_error(build, {random_real({{"row", 2}, {"column", 3}}, 1)}),
             Catch::Contains("a matrix of 2 row by 3 column is not symmetric"));
  CHECK_THAT(trace_error(build, {random_real({{"row", 2}}, 1)}),
             Catch::Contains("there is no axis column"));
}
