// The orders in which a finite dataset can be visited.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "data/rows/permutation.h"

namespace levanter::data {

/// How far a shuffle carries an element.
enum class ShuffleReach {
  kNone,   ///< nowhere
  kAll,    ///< anywhere
  kEra,    ///< inside its era, for data that is read from end to end
  kBlock,  ///< nearly anywhere, but reads whole blocks
};

/// A kind of shuffle.
struct ShuffleSpec {
  ShuffleReach reach = ShuffleReach::kAll;
  PermutationType permutation = PermutationType::kFeistel;
  int64_t era_length = 0;     ///< kEra: elements of an era; the last may be shorter
  int64_t io_block_size = 0;  ///< kBlock: elements that lie together
  int64_t window_blocks = 0;  ///< kBlock: blocks whose elements are mixed
};

/// A bijection of [0, size) that `key` and the kind decide.
///   kEra    era e is permuted with fold_in(key, e)
///   kBlock  whole blocks of io_block_size are permuted; window_blocks of them, in their new order,
///           are a window, whose elements are permuted; what is left after the last whole block
///           stays last, permuted in itself
class ShuffleOrder final {
 public:
  ShuffleOrder(const ShuffleSpec& spec, Key key, int64_t size);

  int64_t size() const { return size_; }
  /// The image of `index`, which is in [0, size).
  int64_t operator()(int64_t index) const;

 private:
  int64_t in_block(int64_t index) const;

  ShuffleSpec spec_;
  Key key_;
  int64_t size_;
  int64_t blocks_ = 0;  ///< whole ones
  Permutation whole_;   ///< of all elements, or of the blocks
};

}  // namespace levanter::data
