#include "passes/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace levanter {

namespace {

int64_t aligned(int64_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

bool overlap(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

/// Places the buffers in the given order, each into the smallest gap that holds it.
MemoryPlan place(std::span<const Lifetime> buffers, std::span<const size_t> order) {
  MemoryPlan plan;
  plan.offsets.assign(buffers.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    const int64_t size = aligned(buffers[i].bytes);
    int64_t best = -1, best_gap = 0, end = 0;
    for (const size_t other : placed) {
      if (!overlap(buffers[i], buffers[other])) continue;
      const int64_t gap = plan.offsets[other] - end;
      if (gap >= size && (best < 0 || gap < best_gap)) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, plan.offsets[other] + aligned(buffers[other].bytes));
    }
    plan.offsets[i] = best < 0 ? end : best;
    plan.arena_bytes = std::max(plan.arena_bytes, plan.offsets[i] + size);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), i,
                         [&plan](size_t a, size_t b) { return plan.offsets[a] < plan.offsets[b]; }),
        i);
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
  MemoryPlan by_time = place(buffers, order);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  MemoryPlan plan = place(buffers, order);
  if (by_time.arena_bytes < plan.arena_bytes) plan = std::move(by_time);
  find_lower_bound(buffers, plan);
  return plan;
}

}  // namespace levanter
