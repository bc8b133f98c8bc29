// The orders in which a finite dataset can be visited.
#include "data/rows/shuffle.h"

#include <algorithm>

#include "base/error.h"

namespace levanter::data {

ShuffleOrder::ShuffleOrder(const ShuffleSpec& spec, Key key, int64_t size)
    : spec_(spec),
      key_(key),
      size_(size),
      blocks_(spec.reach == ShuffleReach::kBlock ? size / std::max<int64_t>(spec.io_block_size, 1)
                                                 : 0),
      whole_(spec.reach == ShuffleReach::kBlock ? fold_in(key, "blocks") : key,
             spec.reach == ShuffleReach::kAll ? size : blocks_, spec.permutation) {
  LEV_CHECK(spec.reach != ShuffleReach::kEra || spec.era_length > 0, "an era has elements");
  LEV_CHECK(
      spec.reach != ShuffleReach::kBlock || (spec.io_block_size > 0 && spec.window_blocks > 0),
      "blocks have elements and windows have blocks");
}

int64_t ShuffleOrder::operator()(int64_t index) const {
  LEV_CHECK(index >= 0 && index < size_, "an index is outside the shuffle");
  switch (spec_.reach) {
    case ShuffleReach::kNone:
      return index;
    case ShuffleReach::kAll:
      return whole_(index);
    case ShuffleReach::kEra: {
      const int64_t era = index / spec_.era_length, first = era * spec_.era_length;
      const int64_t length = std::min(spec_.era_length, size_ - first);
      return first + Permutation(fold_in(key_, static_cast<uint32_t>(era)), length,
                                 spec_.permutation)(index - first);
    }
    default:
      return in_block(index);
  }
}

int64_t ShuffleOrder::in_block(int64_t index) const {
  const int64_t io = spec_.io_block_size, whole = blocks_ * io;
  if (index >= whole)
    return whole +
           Permutation(fold_in(key_, "tail"), size_ - whole, spec_.permutation)(index - whole);
  const int64_t window = index / io / spec_.window_blocks, first = window * spec_.window_blocks;
  const int64_t length = std::min(spec_.window_blocks, blocks_ - first) * io;
  const Key key = fold_in(fold_in(key_, "windows"), static_cast<uint32_t>(window));
  const int64_t at = Permutation(key, length, spec_.permutation)(index - first * io);
  return whole_(first + at / io) * io + at % io;
}

}  // namespace levanter::data
