#include "train/adapter/quantize.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace levanter::train;

namespace {

struct Quantized {
  std::vector<float> scales;
  std::vector<int> values;
};

Quantized quantized(const std::vector<float>& w, size_t outputs,
                    MatrixOrder order = MatrixOrder::kOutIn) {
  std::vector<float> scales(outputs);
  std::vector<int8_t> values(w.size());
  quantize(w, order, scales, values);
  return {scales, {values.begin(), values.end()}};
}

}  // namespace

TEST_CASE("each output has the scale of its largest weight, and ties go to even", "[train]") {
  const Quantized q = quantized({127, 0.5f, 1.5f, -2.5f, -254, 1, 3, 5}, 2);
  CHECK(q.scales == std::vector<float>{1, 2});
  CHECK(q.values == std::vector<int>{127, 0, 2, -2, -127, 0, 2, 2});
}

TEST_CASE("a matrix with its inputs first has the scales of its columns", "[train]") {
  const Quantized q = quantized({127, -254, 1, 3, -2.5f, 5}, 2, MatrixOrder::kInOut);
  CHECK(q.scales == std::vector<float>{1, 2});
  CHECK(q.values == std::vector<int>{127, -127, 1, 2, -2, 2});
}

TEST_CASE("a rounding is at most half a scale, whatever the weights' sizes", "[train]") {
  for (const float size : {1e-30f, 1e-3f, 1.0f, 3e30f}) {
    std::vector<float> w;
    for (int i = 0; i < 1000; ++i) w.push_back(size * std::sin(static_cast<float>(i)));
    const Quantized q = quantized(w, 4);
    for (size_t i = 0; i < w.size(); ++i) {
      const double scale = q.scales[i / 250];
      // Half a scale, and the rounding of the quotient.
      CHECK(std::abs(q.values[i] * scale - static_cast<double>(w[i])) <= scale * 0.50001);
      CHECK(std::abs(q.values[i]) <= 127);
    }
  }
}

TEST_CASE("an output of zeros stays zeros, and what is not finite is not hidden", "[train]") {
  const Quantized zeros = quantized({0, -0.0f, 1, 2}, 2);
  CHECK(zeros.scales[0] == 0);
  CHECK(zeros.values[0] == 0);
  CHECK(zeros.values[1] == 0);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Quantized q = quantized({1, bad, 3, 1, 2, 3}, 2);
    CHECK(std::isnan(q.scales[0]));
    CHECK(q.values[0] != 0);
    CHECK(q.scales[1] == 3.0f / 127);
  }
}
