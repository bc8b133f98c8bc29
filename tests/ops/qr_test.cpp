#include <cmath>

#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Q of x, Q^T Q, Q^T x = R, and Q Q^T x, which is x.
std::vector<NamedArray> build(const std::vector<NamedArray>& in) {
  const NamedArray x = in[0], q = qr(x, "row", "column");
  const Axes rest = without(x.axes(), "row");
  Axes square;  // [stack..., other, column]
  for (const Axis& axis : rest)
    if (axis.name != AxisName("column")) square.push_back(axis);
  const int64_t columns = x.axes().size_of("column");
  square.push_back({"other", columns});
  square.push_back({"column", columns});
  const NamedArray other = rename(q, "column", "other");
  const NamedArray r = dot(other, x, square);
  return {q, dot(other, q, square), r, dot(other, r, x.axes())};
}

double distance_from_identity(const Array& square) {
  double worst = 0;
  for (const auto& where : indices(square.type.axes)) {
    const size_t last = where.size() - 1;
    const double expected = where[last].at == where[last - 1].at ? 1 : 0;
    worst = std::max(worst, std::abs(at(square, where) - expected));
  }
  return worst;
}

/// The element of R farthest below 0 on the diagonal, or from 0 below it.
double distance_from_triangle(const Array& square) {
  double worst = 0;
  for (const auto& where : indices(square.type.axes)) {
    const size_t last = where.size() - 1;
    const double element = at(square, where);
    if (where[last - 1].at > where[last].at) worst = std::max(worst, std::abs(element));
    if (where[last - 1].at == where[last].at) worst = std::max(worst, -element);
  }
  return worst;
}

struct Setting {
  const char* backend;
  DType real;
  double tolerance;
};
/// Sums of a few hundred elements of at most 1.
constexpr double kF64 = 1e-12, kF32 = 2e-5;
constexpr Setting kSettings[] = {{"reference", DType::f64, kF64},
                                 {"reference", DType::f32, kF32},
                                 {"cpu", DType::f32, kF32},
                                 {"cpu", DType::f64, kF64}};

Axes matrix(int64_t rows, int64_t columns) { return {{"row", rows}, {"column", columns}}; }

}  // namespace

TEST_CASE("qr's factor is orthonormal, and what it leaves is upper triangular", "[ops]") {
  const std::pair<int64_t, int64_t> sizes[] = {{1, 1},    {7, 7},    {64, 64},  {65, 65},
                                               {130, 67}, {300, 64}, {301, 129}};
  for (const auto& [rows, columns] : sizes)
    for (const Setting& s : kSettings) {
      INFO(s.backend << " " << name_of(s.real) << " " << rows << " " << columns);
      const Array x = random_real(matrix(rows, columns), 1);
      const std::vector<Array> y = evaluate(build, {x}, *make_backend(s.backend), s.real);
      CHECK(distance_from_identity(y[1]) <= s.tolerance);
      CHECK(distance_from_triangle(y[2]) <= s.tolerance);
      CHECK(difference(y[3], x) <= s.tolerance);
    }
}

TEST_CASE("qr of a matrix whose factor is known", "[ops]") {
  // [3, 4] and [1, 7]: the first column over 5, the second what is left of it, 5 [-4, 3] / 5.
  const Array x = array(matrix(2, 2), {3, 1, 4, 7});
  for (const Setting& s : kSettings)
    CHECK(difference(evaluate(build, {x}, *make_backend(s.backend), s.real)[0],
                     array(matrix(2, 2), {0.6, -0.8, 0.8, 0.6})) <= s.tolerance);
}

TEST_CASE("qr gives an orthonormal factor of a matrix of any rank, of any size", "[ops]") {
  for (const double scale : {1.0, 1e-25, 1e25})
    for (const Setting& s : kSettings) {
      INFO(s.backend << " " << name_of(s.real) << " " << scale);
      Array x = random_real(matrix(90, 80), 2);
      for (const auto& where : indices(x.type.axes)) {
        double& element = x.values[static_cast<size_t>(where[0].at * 80 + where[1].at)];
        element *= scale;
        if (where[1].at >= 30)
          element = where[1].at % 2 * at(x, {{"row", where[0].at}, {"column", 3}});
        if (where[1].at >= 70) element = 0;
      }
      const std::vector<Array> y = evaluate(build, {x}, *make_backend(s.backend), s.real);
      CHECK(distance_from_identity(y[1]) <= s.tolerance);
      const Array zeros = array(matrix(3, 2), std::vector<double>(6, 0));
      CHECK(evaluate(build, {zeros}, *make_backend(s.backend), s.real)[0].values ==
            std::vector<double>{1, 0, 0, 1, 0, 0});
    }
}

TEST_CASE("the cpu's qr agrees with the reference's in every layout, on any number of threads",
          "[ops]") {
  const Backends backends;
  for (const Axes& axes : {Axes{{"a", 3}, {"row", 70}, {"column", 66}},
                           Axes{{"column", 5}, {"a", 2}, {"row", 9}, {"b", 2}}})
    CHECK(worst_error(backends, {{axes}}, build) <= kF32);
}

TEST_CASE("an element that is not finite is in qr's result", "[ops]") {
  for (const Setting& s : kSettings) {
    const Array x = array(matrix(2, 2), {1, NAN, 2, 3});
    CHECK_FALSE(std::isfinite(evaluate(build, {x}, *make_backend(s.backend), s.real)[0].values[1]));
  }
}

TEST_CASE("qr says what does not fit", "[ops]") {
  const auto error = [](const Axes& axes, AxisName row, AxisName column) {
    return trace_error([&](const auto& in) { return std::vector{qr(in[0], row, column)}; },
                       {random_real(axes, 1)});
  };
  CHECK_THAT(error(matrix(2, 3), "row", "column"),
             Catch::Contains("a matrix of 2 row by 3 column has no 3 orthonormal columns"));
  CHECK_THAT(error(matrix(3, 2), "row", "batch"), Catch::Contains("there is no axis batch"));
  CHECK_THAT(error(matrix(3, 2), "batch", "column"), Catch::Contains("there is no axis batch"));
  CHECK_THAT(error(matrix(3, 2), "row", "row"),
             Catch::Contains("rows and columns are one axis, row"));
}
