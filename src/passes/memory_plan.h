// Offsets in one arena for buffers with known lifetimes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace levanter {

/// A buffer alive from step `first` to step `last`, both included.
struct Lifetime {
  int64_t bytes = 0;
  int first = 0, last = 0;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  ///< in bytes, multiples of kArenaAlignment, one a buffer
  int64_t arena_bytes = 0;
  int64_t lower_bound = 0;  ///< the most bytes alive in any one step
  int peak_step = 0;        ///< a step at which lower_bound is reached
};

constexpr int64_t kArenaAlignment = 64;

/// Best fit by decreasing size: each buffer goes into the smallest gap, among the buffers alive at
/// the same time, that holds it; the better of that order and the order of first use is kept.
MemoryPlan plan_memory(std::span<const Lifetime> buffers);

}  // namespace levanter
