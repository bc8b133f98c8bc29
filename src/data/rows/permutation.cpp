// Feistel networks and linear congruences as orders of [0, n).
#include "data/rows/permutation.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/error.h"

namespace levanter::data {

Permutation::Permutation(Key key, int64_t size, PermutationType type) : size_(size), type_(type) {
  LEV_CHECK(size >= 0, "a permutation of fewer than no elements");
  if (type == PermutationType::kLinear) {
    const auto n = static_cast<uint64_t>(std::max<int64_t>(size, 1));
    uint64_t draw = 0;
    do factor_ = 1 + random_below(fold_in(key, "factor"), draw++, std::max<uint64_t>(n - 1, 1));
    while (std::gcd(factor_, n) != 1);
    offset_ = random_below(fold_in(key, "offset"), 0, n);
    return;
  }
  const int bits = size <= 1 ? 0 : std::bit_width(static_cast<uint64_t>(size - 1));
  left_bits_ = bits / 2;
  right_bits_ = bits - left_bits_;
  for (int round = 0; round < kRounds; ++round)
    round_keys_[static_cast<size_t>(round)] = fold_in(key, static_cast<uint32_t>(round));
}

// Even rounds mask the left half with a function of the right one, odd rounds the other way about:
// each can be undone, also where the halves differ in width. Halves have at most 32 bits.
uint64_t Permutation::encipher(uint64_t value) const {
  const uint64_t left_mask = (uint64_t{1} << left_bits_) - 1;
  const uint64_t right_mask = (uint64_t{1} << right_bits_) - 1;
  uint64_t left = value >> right_bits_, right = value & right_mask;
  for (size_t round = 0; round < kRounds; ++round) {
    if (round % 2 == 0)
      left ^= random_bits(round_keys_[round], right) & left_mask;
    else
      right ^= random_bits(round_keys_[round], left) & right_mask;
  }
  return left << right_bits_ | right;
}

int64_t Permutation::operator()(int64_t index) const {
  LEV_CHECK(index >= 0 && index < size_, "an index is outside the permutation");
  auto value = static_cast<uint64_t>(index);
  if (type_ == PermutationType::kLinear) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<int64_t>((Wide{value} * factor_ + offset_) % static_cast<uint64_t>(size_));
  }
  do value = encipher(value);
  while (value >= static_cast<uint64_t>(size_));
  return static_cast<int64_t>(value);
}

}  // namespace levanter::data
