// Places buffers with known lifetimes in one arena, so that it is small.
#include "passes/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "base/integers.h"

namespace levanter {

namespace {

int64_t aligned(int64_t bytes) { return round_up(bytes, kArenaAlignment); }

/// A buffer that has its address.
struct Placed {
  int64_t begin, end;
  int first, last;
};

/// Places the buffers in the given order, each into the smallest gap that holds it.
MemoryPlan place(std::span<const Lifetime> buffers, std::span<const size_t> order, bool by_time) {
  MemoryPlan plan;
  plan.offsets.assign(buffers.size(), 0);
  std::vector<Placed> placed;  // by address
  for (const size_t i : order) {
    const auto& [bytes, first, last] = buffers[i];
    const int64_t size = aligned(bytes);
    if (by_time)  // what has ended meets none of those to come
      std::erase_if(placed, [now = first](const Placed& other) { return other.last < now; });
    int64_t best = -1, best_gap = INT64_MAX, end = 0;
    for (const Placed& other : placed) {
      if (other.first > last || other.last < first) continue;
      const int64_t gap = other.begin - end;
      if (gap >= size && gap < best_gap) {
        best = end;
        best_gap = gap;
        if (gap == size) break;  // none is smaller
      }
      end = std::max(end, other.end);
    }
    const int64_t begin = best < 0 ? end : best;
    plan.offsets[i] = begin;
    plan.arena_bytes = std::max(plan.arena_bytes, begin + size);
    const auto behind = std::upper_bound(placed.begin(), placed.end(), begin,
                                         [](int64_t at, const Placed& p) { return at < p.begin; });
    placed.insert(behind, {begin, begin + size, first, last});
  }
  return plan;
}

void find_lower_bound(std::span<const Lifetime> buffers, MemoryPlan& plan) {
  int steps = 0;
  for (const Lifetime& b : buffers) steps = std::max(steps, b.last + 1);
  std::vector<int64_t> change(static_cast<size_t>(steps) + 1);
  for (const Lifetime& b : buffers) {
    change[static_cast<size_t>(b.first)] += aligned(b.bytes);
    change[static_cast<size_t>(b.last) + 1] -= aligned(b.bytes);
  }
  int64_t alive = 0;
  for (int step = 0; step < steps; ++step) {
    alive += change[static_cast<size_t>(step)];
    if (alive > plan.lower_bound) {
      plan.lower_bound = alive;
      plan.peak_step = step;
    }
  }
}

}  // namespace

MemoryPlan plan_memory(std::span<const Lifetime> buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; });
  MemoryPlan by_time = place(buffers, order, true);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  MemoryPlan plan = place(buffers, order, false);
  if (by_time.arena_bytes < plan.arena_bytes) plan = std::move(by_time);
  find_lower_bound(buffers, plan);
  return plan;
}

}  // namespace levanter
