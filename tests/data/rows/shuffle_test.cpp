// Orders of a dataset: bijections that keep inside what they may mix.
#include "data/rows/shuffle.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>
#include <vector>

using namespace levanter;
using namespace levanter::data;

namespace {

std::vector<int64_t> order(const ShuffleSpec& spec, int64_t size, uint64_t seed = 1) {
  const ShuffleOrder shuffle(spec, key_from_seed(seed), size);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < size; ++i) out.push_back(shuffle(i));
  return out;
}

bool is_bijection(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] != static_cast<int64_t>(i)) return false;
  return true;
}

constexpr int64_t kSizes[] = {0, 1, 2, 3, 7, 64, 65, 127, 1000, 4099};

}  // namespace

TEST_CASE("every order is a bijection, and its key decides it", "[data]") {
  for (const PermutationType type : {PermutationType::kFeistel, PermutationType::kLinear})
    for (const ShuffleSpec& spec :
         {ShuffleSpec{ShuffleReach::kNone, type}, ShuffleSpec{ShuffleReach::kAll, type},
          ShuffleSpec{ShuffleReach::kEra, type, 10}, ShuffleSpec{ShuffleReach::kEra, type, 1 << 20},
          ShuffleSpec{ShuffleReach::kBlock, type, 0, 8, 3},
          ShuffleSpec{ShuffleReach::kBlock, type, 0, 1, 1},
          ShuffleSpec{ShuffleReach::kBlock, type, 0, 5000, 2}})
      for (const int64_t size : kSizes) {
        INFO("reach " << static_cast<int>(spec.reach) << " size " << size);
        REQUIRE(is_bijection(order(spec, size)));
        CHECK(order(spec, size) == order(spec, size));
        if (spec.reach == ShuffleReach::kAll && size > 100)
          CHECK(order(spec, size, 1) != order(spec, size, 2));
      }
}

TEST_CASE("an era shuffle leaves every element in its era", "[data]") {
  const std::vector<int64_t> all = order({ShuffleReach::kEra, {}, 50}, 1020);
  int64_t moved = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    CHECK(all[i] / 50 == static_cast<int64_t>(i) / 50);
    moved += all[i] != static_cast<int64_t>(i) ? 1 : 0;
  }
  CHECK(moved > 900);
}

TEST_CASE("a block shuffle reads whole blocks, a few at a time, and leaves the rest last",
          "[data]") {
  constexpr int64_t kBlock = 16, kWindow = 4, kSize = 40 * kBlock + 5;
  const std::vector<int64_t> all =
      order({ShuffleReach::kBlock, PermutationType::kFeistel, 0, kBlock, kWindow}, kSize);
  std::set<int64_t> firsts;
  for (int64_t window = 0; window < 10; ++window) {
    std::set<int64_t> blocks;
    for (int64_t i = 0; i < kBlock * kWindow; ++i)
      blocks.insert(all[static_cast<size_t>(window * kBlock * kWindow + i)] / kBlock);
    CHECK(blocks.size() == kWindow);
    firsts.insert(*blocks.begin() / kWindow);
  }
  CHECK(firsts.size() > 3);  // far blocks come together
  for (int64_t i = 40 * kBlock; i < kSize; ++i) CHECK(all[static_cast<size_t>(i)] >= 40 * kBlock);
}
