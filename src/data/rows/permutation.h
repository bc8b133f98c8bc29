// A random order of [0, n) that is computed one element at a time.
// Luby and Rackoff 1988; Black and Rogaway 2002, "Ciphers with arbitrary finite domains", for any
// n.
#pragma once

#include <array>
#include <cstdint>

#include "base/random.h"

namespace levanter::data {

enum class PermutationType {
  kFeistel,  ///< as good as random
  kLinear,   ///< (a x + b) mod size with a random a that has no divisor in common with size: quick,
             ///< but neighbours stay equally far apart
};

/// A bijection of [0, size) that `key` decides. kFeistel: eight rounds over the smallest power of
/// two that holds [0, size), with Threefry as the round function; a value that falls outside goes
/// round again, fewer than two times on average.
class Permutation final {
 public:
  /// `size` >= 0.
  Permutation(Key key, int64_t size, PermutationType type = PermutationType::kFeistel);

  int64_t size() const { return size_; }
  /// The image of `index`, which is in [0, size).
  int64_t operator()(int64_t index) const;

 private:
  static constexpr int kRounds = 8;

  uint64_t encipher(uint64_t value) const;

  int64_t size_;
  PermutationType type_;
  int left_bits_ = 0, right_bits_ = 0;
  std::array<Key, kRounds> round_keys_{};
  uint64_t factor_ = 1, offset_ = 0;  ///< of kLinear
};

}  // namespace levanter::data
