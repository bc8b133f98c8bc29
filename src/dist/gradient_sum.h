// The sum of all groups' gradients over all ranks, in the order of the fixed tree.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/array_exchange.h"
#include "dist/gradient_tree.h"
#include "dist/sharding.h"

namespace levanter::dist {

/// Sums flat arrays of f32 over ranks: an all-to-all brings every partial sum of one shard to the
/// rank that owns it, which adds them up as the tree says. Only additions of the tree are done, so
/// any number of ranks gives the same bits. Where each rank has one subtree (their number and the
/// groups' are powers of two) a rank sends (N - 1) / N of an array, as in a ring.
class GradientSum final {
 public:
  /// `shards`: each rank's, one after the other, together the whole array. The exchange outlives
  /// this.
  GradientSum(ArrayExchange& exchange, int64_t groups, std::vector<Shard> shards);

  /// `partials`: this rank's maximal subtrees, in order. This rank's shard of `total`, which may be
  /// one of them, becomes the sum; the rest of it means nothing then. Collective.
  void reduce(std::span<float* const> partials, float* total) {
    reduce(partials, total, {0, shards_.back().end});
  }
  /// The same of a part of the arrays, beside kernels that run in other threads where
  /// `beside_kernels`.
  void reduce(std::span<float* const> partials, float* total, const Shard& part,
              bool beside_kernels = false);
  /// Brings every rank's shard of an array to all. Collective.
  void gather(float* array);

  /// Bytes that such an object holds for a rank.
  static int64_t staging_bytes(int64_t groups, std::span<const Shard> shards, int64_t rank);

 private:
  float* add_up(GroupRange node, const Shard& part, bool beside_kernels);
  const Shard& own() const { return shards_[static_cast<size_t>(exchange_.communicator().rank())]; }

  ArrayExchange& exchange_;
  int64_t groups_;
  std::vector<Shard> shards_;
  std::vector<std::vector<GroupRange>> subtrees_;  ///< of each rank
  std::unique_ptr<Buffer> staging_;                ///< this shard of every partial, by group
};

/// Brings every rank's shard of an array in the device's memory to all. Collective.
void gather_shards(ArrayExchange& exchange, std::span<const Shard> shards, float* array);

}  // namespace levanter::dist
