// How flat arrays and lists are cut into the parts of ranks.
#include "dist/sharding.h"

#include <algorithm>

#include "dist/gradient_tree.h"

namespace levanter::dist {

namespace {

/// Parts of at most `most`, each as full as can be.
std::vector<Shard> fill_shards(std::span<const int64_t> sizes, int64_t most) {
  std::vector<Shard> parts = {{}};
  int64_t full = 0;
  for (const int64_t size : sizes) {
    if (full + size > most) {
      parts.push_back({parts.back().end, parts.back().end});
      full = 0;
    }
    full += size;
    ++parts.back().end;
  }
  return parts;
}

}  // namespace

std::vector<Shard> whole_shards(std::span<const int64_t> sizes, int64_t ranks) {
  int64_t low = 0, high = 0;  // of what the largest part holds
  for (const int64_t size : sizes) {
    low = std::max(low, size);
    high += size;
  }
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (std::ssize(fill_shards(sizes, middle)) <= ranks)
      high = middle;
    else
      low = middle + 1;
  }
  std::vector<Shard> parts = fill_shards(sizes, high);
  const int64_t end = std::ssize(sizes);
  parts.resize(static_cast<size_t>(ranks), {end, end});
  return parts;
}

std::vector<Shard> equal_shards(int64_t elements, int64_t ranks) {
  std::vector<Shard> shards;
  for (int64_t r = 0; r < ranks; ++r) {
    const GroupRange share = groups_of_rank(elements, ranks, r);
    shards.push_back({share.begin, share.end});
  }
  return shards;
}

}  // namespace levanter::dist
