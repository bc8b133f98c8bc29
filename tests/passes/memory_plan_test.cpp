#include "passes/memory_plan.h"

#include <numeric>

#include "base/random.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

bool meet(int64_t a, int64_t a_bytes, int64_t b, int64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

/// The bytes alive at a step, each buffer rounded up to the alignment.
int64_t alive(const std::vector<Lifetime>& buffers, int step) {
  int64_t total = 0;
  for (const Lifetime& b : buffers)
    if (b.first <= step && step <= b.last)
      total += (b.bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
  return total;
}

bool meet(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

/// The bytes of an arena whose buffers, in this order, each look at all those before them.
int64_t placed_plainly(const std::vector<Lifetime>& buffers, const std::vector<size_t>& order,
                       std::vector<int64_t>& offsets) {
  const auto aligned = [](int64_t bytes) {
    return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
  };
  std::vector<size_t> placed;
  int64_t arena = 0;
  for (const size_t i : order) {
    int64_t best = -1, best_gap = 0, end = 0;
    for (const size_t other : placed) {
      if (!meet(buffers[i], buffers[other])) continue;
      const int64_t gap = offsets[other] - end;
      if (gap >= aligned(buffers[i].bytes) && (best < 0 || gap < best_gap)) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, offsets[other] + aligned(buffers[other].bytes));
    }
    offsets[i] = best < 0 ? end : best;
    arena = std::max(arena, offsets[i] + aligned(buffers[i].bytes));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](size_t a, size_t b) { return offsets[a] < offsets[b]; }),
                  i);
  }
  return arena;
}

/// The offsets that plan_memory describes.
std::vector<int64_t> plain_offsets(const std::vector<Lifetime>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<int64_t> by_time(buffers.size()), by_size(buffers.size());
  const auto sort = [&](auto before) { std::stable_sort(order.begin(), order.end(), before); };
  sort([&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; });
  const int64_t time_arena = placed_plainly(buffers, order, by_time);
  sort([&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  return time_arena < placed_plainly(buffers, order, by_size) ? by_time : by_size;
}

void check_plan(const std::vector<Lifetime>& buffers) {
  const MemoryPlan plan = plan_memory(buffers);
  REQUIRE(plan.offsets.size() == buffers.size());
  CHECK(plan.offsets == plain_offsets(buffers));
  int64_t largest = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Lifetime& a = buffers[i];
    CHECK(plan.offsets[i] % kArenaAlignment == 0);
    CHECK(plan.offsets[i] >= 0);
    CHECK(plan.offsets[i] + a.bytes <= plan.arena_bytes);
    for (int step = a.first; step <= a.last; ++step)
      largest = std::max(largest, alive(buffers, step));
    for (size_t j = 0; j < i; ++j) {
      const Lifetime& b = buffers[j];
      if (meet(a, b)) CHECK_FALSE(meet(plan.offsets[i], a.bytes, plan.offsets[j], b.bytes));
    }
  }
  CHECK(plan.lower_bound == largest);
  CHECK(plan.arena_bytes >= plan.lower_bound);
  if (!buffers.empty()) CHECK(alive(buffers, plan.peak_step) == plan.lower_bound);
}

}  // namespace

TEST_CASE("buffers alive together never share an address", "[passes]") {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    const Key key = key_from_seed(seed);
    uint64_t at = 0;
    const auto below = [&](uint64_t bound) {
      return static_cast<int>(random_below(key, at++, bound));
    };
    std::vector<Lifetime> buffers;
    const int count = below(40), steps = 1 + below(30);
    for (int i = 0; i < count; ++i) {
      const int first = below(static_cast<uint64_t>(steps));
      buffers.push_back({below(3) ? below(1000) : 64 * below(5), first,
                         first + below(static_cast<uint64_t>(steps - first))});
    }
    check_plan(buffers);
  }
}

TEST_CASE("no buffers need no arena", "[passes]") {
  check_plan({});
  CHECK(plan_memory({}).arena_bytes == 0);
}

TEST_CASE("buffers that do not meet in time share one address", "[passes]") {
  const std::vector<Lifetime> chain = {{100, 0, 1}, {100, 2, 3}, {100, 4, 4}};
  CHECK(plan_memory(chain).arena_bytes == 128);
  check_plan(chain);
}

TEST_CASE("both ends of a lifetime count", "[passes]") {
  const std::vector<Lifetime> touching = {{64, 0, 1}, {64, 1, 2}};
  CHECK(plan_memory(touching).arena_bytes == 128);
}

TEST_CASE("a buffer goes into the smallest gap that holds it", "[passes]") {
  // The last buffer fits between the first three as they stand: no plan needs more than they do.
  const std::vector<Lifetime> buffers = {{640, 0, 9}, {320, 0, 3}, {640, 0, 9}, {128, 0, 3},
                                         {640, 0, 9}, {128, 5, 9}, {320, 5, 9}};
  const MemoryPlan plan = plan_memory(buffers);
  CHECK(plan.arena_bytes == plan.lower_bound);
  check_plan(buffers);
}
