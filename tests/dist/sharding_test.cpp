// How flat arrays and lists are cut into the parts of ranks.
#include "dist/sharding.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <numeric>

#include "base/random.h"

using namespace levanter;
using dist::Shard;

namespace {

int64_t largest(const std::vector<int64_t>& sizes, const std::vector<Shard>& shards) {
  int64_t most = 0;
  for (const Shard& shard : shards)
    most = std::max(
        most, std::accumulate(sizes.begin() + shard.begin, sizes.begin() + shard.end, int64_t{0}));
  return most;
}

/// The least that the largest of so many parts can hold, by trying every first part.
int64_t least_largest(const std::vector<int64_t>& sizes, int64_t parts) {
  if (parts == 1) return std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  int64_t best = INT64_MAX, first = 0;
  for (size_t end = 0; end <= sizes.size(); ++end) {
    const std::vector<int64_t> rest(sizes.begin() + static_cast<std::ptrdiff_t>(end), sizes.end());
    best = std::min(best, std::max(first, least_largest(rest, parts - 1)));
    if (end < sizes.size()) first += sizes[end];
  }
  return best;
}

void check_whole(const std::vector<Shard>& shards, int64_t end) {
  CHECK(shards.front().begin == 0);
  CHECK(shards.back().end == end);
  for (size_t i = 1; i < shards.size(); ++i) CHECK(shards[i].begin == shards[i - 1].end);
}

}  // namespace

TEST_CASE("an array's shards are whole and as equal as can be", "[dist]") {
  for (const int64_t elements : {0, 1, 7, 1009})
    for (const int64_t ranks : {1, 2, 3, 8}) {
      const std::vector<Shard> shards = dist::equal_shards(elements, ranks);
      REQUIRE(std::ssize(shards) == ranks);
      check_whole(shards, elements);
      for (const Shard& shard : shards) {
        CHECK(shard.size() >= elements / ranks);
        CHECK(shard.size() <= elements / ranks + 1);
      }
    }
}

TEST_CASE("things stay whole, and the largest part is as small as can be", "[dist]") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<int64_t> sizes;
    for (uint64_t i = 0; i < 1 + seed % 8; ++i)
      sizes.push_back(static_cast<int64_t>(random_below(key_from_seed(seed), i, 100)));
    for (const int64_t ranks : {1, 2, 3, 4}) {
      const std::vector<Shard> shards = dist::whole_shards(sizes, ranks);
      REQUIRE(std::ssize(shards) == ranks);
      check_whole(shards, std::ssize(sizes));
      CHECK(largest(sizes, shards) == least_largest(sizes, ranks));
    }
  }
}
