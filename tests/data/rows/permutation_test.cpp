// The Feistel permutation: a bijection for every size, decided by its key.
#include "data/rows/permutation.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

using namespace levanter;
using levanter::data::Permutation;

namespace {

std::vector<int64_t> order(Key key, int64_t size) {
  const Permutation permutation(key, size);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < size; ++i) out.push_back(permutation(i));
  return out;
}

bool is_bijection(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] != static_cast<int64_t>(i)) return false;
  return true;
}

}  // namespace

TEST_CASE("a permutation is a bijection for every size", "[data]") {
  for (int64_t size = 0; size <= 130; ++size) {
    INFO("size " << size);
    CHECK(is_bijection(order(key_from_seed(static_cast<uint64_t>(size)), size)));
  }
  for (const int64_t size : {255, 256, 257, 1000, 4096, 4097, 10007, 65536, 100003}) {
    INFO("size " << size);
    CHECK(is_bijection(order(key_from_seed(1), size)));
  }
}

TEST_CASE("a permutation of a very large range stays inside it", "[data]") {
  for (const int64_t size : {int64_t{1} << 40, (int64_t{1} << 62) + 1}) {
    const Permutation permutation(key_from_seed(4), size);
    for (const int64_t index : {int64_t{0}, int64_t{1}, size / 2, size - 1}) {
      CHECK(permutation(index) >= 0);
      CHECK(permutation(index) < size);
    }
  }
}

TEST_CASE("a permutation is a function of its key", "[data]") {
  CHECK(order(key_from_seed(1), 500) == order(key_from_seed(1), 500));
  CHECK(order(key_from_seed(1), 500) != order(key_from_seed(2), 500));
}

TEST_CASE("over many keys every element goes everywhere about equally often", "[data]") {
  constexpr int64_t kSize = 12;
  constexpr int kKeys = 6000;
  constexpr double kStandardErrors = 5;
  std::vector<int> counts(kSize * kSize);
  for (int seed = 0; seed < kKeys; ++seed) {
    const std::vector<int64_t> images = order(key_from_seed(static_cast<uint64_t>(seed)), kSize);
    for (int64_t i = 0; i < kSize; ++i)
      ++counts[static_cast<size_t>(i * kSize + images[static_cast<size_t>(i)])];
  }
  const double mean = static_cast<double>(kKeys) / kSize;
  for (const int count : counts) CHECK(std::abs(count - mean) < kStandardErrors * std::sqrt(mean));
}
