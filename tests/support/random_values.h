// Numbers for products to be tried on.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace levanter::testing {

/// `n` numbers of a normal distribution; the same seed gives the same numbers.
inline std::vector<float> random_values(int64_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

}  // namespace levanter::testing
