// Rows that lie apart against spans one by one, on every instruction set.
#include <catch2/catch.hpp>

#include <vector>

#include "base/random.h"
#include "kernels/cpu/vector.h"

using namespace levanter;
using namespace levanter::cpu;

namespace {

constexpr int64_t kRows = 19, kGap = 5;
constexpr uint16_t kUntouched = 0x1234;

template <class T>
std::vector<T> untouched(int64_t size) {
  return std::vector<T>(static_cast<size_t>(size), T{kUntouched});
}

/// Whether `array` has the rows `dense` in rows `width + kGap` apart and nothing else was written.
template <class T>
bool holds(const std::vector<T>& array, const std::vector<T>& dense, int64_t width) {
  for (int64_t i = 0; i < static_cast<int64_t>(array.size()); ++i) {
    const int64_t row = i / (width + kGap), column = i % (width + kGap);
    const T wanted =
        column < width ? dense[static_cast<size_t>(row * width + column)] : T{kUntouched};
    if (array[static_cast<size_t>(i)] != wanted) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("rows that lie apart are copied, rounded and multiplied as spans are", "[kernels]") {
  for (const VectorKernels* kernels : runnable_vector_kernels())
    for (int64_t width = 1; width <= 130; ++width) {
      INFO(kernels->isa << ", rows of " << width);
      const int64_t stride = width + kGap, all = kRows * width, apart = kRows * stride;
      std::vector<float> dense(static_cast<size_t>(all)), y = untouched<float>(apart);
      for (size_t i = 0; i < dense.size(); ++i)
        dense[i] =
            static_cast<float>(static_cast<int32_t>(random_bits(key_from_seed(1), i))) * 0x1p-31f;
      kernels->copy_rows(y.data(), stride, dense.data(), width, kRows, width);
      REQUIRE(holds(y, dense, width));
      std::vector<float> back = untouched<float>(all);
      kernels->copy_rows(back.data(), width, y.data(), stride, kRows, width);
      REQUIRE(back == dense);

      std::vector<uint16_t> halves = untouched<uint16_t>(all), z = untouched<uint16_t>(apart);
      kernels->narrow(halves.data(), dense.data(), all);
      kernels->narrow_rows(z.data(), stride, dense.data(), width, kRows, width);
      REQUIRE(holds(z, halves, width));
      std::vector<uint16_t> copied = untouched<uint16_t>(apart);
      kernels->copy_rows_bf16(copied.data(), stride, halves.data(), width, kRows, width);
      REQUIRE(copied == z);

      // Each row with the next one, so that the two factors differ.
      std::vector<float> wide(dense.size()), dots(kRows - 1), dots_bf16(kRows - 1);
      kernels->widen(wide.data(), halves.data(), all);
      kernels->dot_rows(dots.data(), dense.data(), width, y.data() + stride, stride, kRows - 1,
                        width);
      kernels->dot_rows_bf16(dots_bf16.data(), halves.data(), width, z.data() + stride, stride,
                             kRows - 1, width);
      for (int64_t r = 0; r + 1 < kRows; ++r) {
        const int64_t at = r * width;
        const auto dot = [&](const std::vector<float>& x) {
          return kernels->dot(x.data() + at, x.data() + at + width, width);
        };
        REQUIRE(dots[static_cast<size_t>(r)] == dot(dense));
        REQUIRE(dots_bf16[static_cast<size_t>(r)] == dot(wide));
      }
    }
}
