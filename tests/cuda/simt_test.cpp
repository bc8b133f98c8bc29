// The emulated device: what it runs, and the faults that it finds.
#include "cuda/simt.h"

#include <vector>

#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;
using simt::Order;

namespace {

constexpr Order kOrders[] = {Order::kForward, Order::kBackward, Order::kRandom};
constexpr unsigned kBlock = 256;

struct SumArguments {
  const float* from;
  float* to;
  bool barrier;
};

/// The sum of a block's elements by its first thread, with or without the barrier that it needs.
LEV_KERNEL_OF(sum_of_block, SumArguments, kBlock) {
  LEV_SHARED(float, values, kBlock);
  values[threadIdx.x] = a.from[blockIdx.x * kBlock + threadIdx.x];
  if (a.barrier) __syncthreads();
  if (threadIdx.x != 0) return;
  float sum = 0;
  for (unsigned i = 0; i < kBlock; ++i) sum += values[i];
  a.to[blockIdx.x] = sum;
}

struct NoArguments {};

/// Half of the threads never come.
LEV_KERNEL_OF(half_waits, NoArguments, kBlock) {
  (void)a;
  if (threadIdx.x < kBlock / 2) __syncthreads();
}

/// All threads wait, but not together.
LEV_KERNEL_OF(two_barriers, NoArguments, kBlock) {
  (void)a;
  if (threadIdx.x < kBlock / 2)
    __syncthreads();
  else
    __syncthreads();
}

struct IndexArguments {
  unsigned* to;
};

LEV_KERNEL_OF(index_of_thread, IndexArguments, kBlock) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  a.to[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}

struct WarpArguments {
  float* to;  ///< by thread: the sum over its warp; then d of a product of fragments
};

/// a[i][k] = i - k, b[k][j] = 2 j + k, all small whole numbers; d begins as 1.
LEV_KERNEL_OF(warp_operations, WarpArguments, 64) {
  float sum = static_cast<float>(threadIdx.x);
  for (unsigned mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  a.to[threadIdx.x] = sum;
  const unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const auto pair = [](unsigned low, unsigned high) {
    const auto bits = [](unsigned x) {
      return __float_as_uint(static_cast<float>(static_cast<int>(x))) >> 16;
    };
    return bits(low) | bits(high) << 16;
  };
  uint32_t left[4], right[2];
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + i % 2 * 8, column = 2 * t + i / 2 * 8;
    left[i] = pair(row - column, row - column - 1);
  }
  for (unsigned i = 0; i < 2; ++i) {
    const unsigned row = 2 * t + i * 8;
    right[i] = pair(2 * g + row, 2 * g + row + 1);
  }
  float d[4] = {1, 1, 1, 1};
  simt::multiply(d, left, right, LEV_PLACE);
  for (unsigned i = 0; i < 4; ++i) a.to[64 + threadIdx.x * 4 + i] = d[i];
}

/// Lanes of one warp that are in two places.
LEV_KERNEL_OF(half_shuffles, NoArguments, kBlock) {
  (void)a;
  if (threadIdx.x % 2 == 0) __syncwarp();
}

/// Two matrices of 8 by 8, the second as transposed: the words of row g, then of column g.
struct MatricesArguments {
  uint32_t* to;
  int offset;
};
LEV_KERNEL_OF(matrices, MatricesArguments, 32) {
  LEV_DYNAMIC_SHARED(bytes);
  auto* const words = reinterpret_cast<uint16_t*>(bytes);
  for (unsigned i = threadIdx.x; i < 256; i += 32) words[i] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t rows[4], columns[4];
  const uint16_t* const row = words + threadIdx.x * 8 + a.offset;
  simt::load_matrices(rows, row, false, LEV_PLACE);
  simt::load_matrices(columns, row, true, LEV_PLACE);
  for (unsigned i = 0; i < 4; ++i) a.to[threadIdx.x * 8 + i] = rows[i];
  for (unsigned i = 0; i < 4; ++i) a.to[threadIdx.x * 8 + 4 + i] = columns[i];
}

std::vector<float> sums(Order order, bool barrier) {
  std::vector<float> from(2 * kBlock), to(2, -1);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
  const SumArguments arguments{from.data(), to.data(), barrier};
  simt::launch(*simt::find_kernel("sum_of_block"), {2, 1, 1}, {kBlock, 1, 1}, 0, &arguments, order);
  return to;
}

std::string fault_of(const char* kernel) {
  const NoArguments none;
  return error_of([&] {
    simt::launch(*simt::find_kernel(kernel), {}, {kBlock, 1, 1}, 0, &none, Order::kRandom);
  });
}

}  // namespace

TEST_CASE("threads of a block meet at barriers, in any order", "[cuda]") {
  for (const Order order : kOrders)
    CHECK(sums(order, true) == std::vector<float>{255 * 128, 255 * 128 + 256 * 256});
}

TEST_CASE("shared memory that nobody has written yet is NaN: a barrier that lacks is seen",
          "[cuda]") {
  CHECK(std::isnan(sums(Order::kForward, false)[0]));
}

TEST_CASE("threads that wait for each other are told by their places", "[cuda]") {
  CHECK_THAT(fault_of("half_waits"), Catch::Contains("half_waits wait for each other") &&
                                         Catch::Contains("128 at their end") &&
                                         Catch::Contains("128 at ") &&
                                         Catch::Contains("simt_test.cpp:"));
  CHECK_THAT(fault_of("two_barriers"), Catch::Contains("two_barriers wait for each other"));
}

TEST_CASE("every thread of every block runs once and knows its place", "[cuda]") {
  for (const Order order : kOrders) {
    std::vector<unsigned> to(6 * 24, 7);
    const IndexArguments arguments{to.data()};
    simt::launch(*simt::find_kernel("index_of_thread"), {3, 1, 2}, {4, 3, 2}, 0, &arguments, order);
    for (unsigned i = 0; i < to.size(); ++i) REQUIRE(to[i] == i / 24 * 1000 + i % 24);
  }
}

TEST_CASE("lanes of a warp exchange values and multiply matrices together", "[cuda]") {
  for (const Order order : kOrders) {
    std::vector<float> to(64 * 5);
    const WarpArguments arguments{to.data()};
    simt::launch(*simt::find_kernel("warp_operations"), {}, {64, 1, 1}, 0, &arguments, order);
    CHECK(to[0] == 31 * 16);
    CHECK(to[31] == 31 * 16);
    CHECK(to[32] == 31 * 16 + 32 * 32);
    for (int thread = 0; thread < 64; ++thread)
      for (int i = 0; i < 4; ++i) {
        const int row = thread % 32 / 4 + i / 2 * 8, column = thread % 4 * 2 + i % 2;
        int expected = 1;
        for (int k = 0; k < 16; ++k) expected += (row - k) * (2 * column + k);
        REQUIRE(to[static_cast<size_t>(64 + thread * 4 + i)] == static_cast<float>(expected));
      }
  }
  CHECK_THAT(fault_of("half_shuffles"), Catch::Contains("half_shuffles wait for each other"));
}

TEST_CASE("lanes load matrices by rows and transposed, from rows that lie at 16 bytes", "[cuda]") {
  std::vector<uint32_t> to(32 * 8);
  MatricesArguments arguments{to.data(), 0};
  const simt::Kernel& kernel = *simt::find_kernel("matrices");
  simt::launch(kernel, {}, {32, 1, 1}, 512, &arguments, Order::kForward);
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t g = lane / 4, t = lane % 4 * 2, first = i * 64 + g * 8 + t;
      CHECK(to[lane * 8 + i] == (first | (first + 1) << 16));
      const uint32_t transposed = i * 64 + t * 8 + g;
      CHECK(to[lane * 8 + 4 + i] == (transposed | (transposed + 8) << 16));
    }
  arguments.offset = 1;
  CHECK_THAT(error_of([&] {
               simt::launch(kernel, {}, {32, 1, 1}, 1024, &arguments, Order::kForward);
             }),
             Catch::Contains("does not lie at 16 bytes"));
}
