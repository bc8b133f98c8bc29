// The sum of all groups' gradients over all ranks, in the order of the fixed tree.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "device/backend.h"
#include "dist/communicator.h"
#include "dist/gradient_tree.h"

namespace levanter::dist {

/// Sums flat arrays of `elements` f32 over ranks: an all-to-all brings every partial sum of one
/// shard to the rank that owns it, which adds them up as the tree says, and a second one brings the
/// total to all. Only additions of the tree are done, so any number of ranks gives the same bits.
class GradientSum final {
 public:
  GradientSum(Communicator& communicator, const Backend& backend, int64_t groups, int64_t elements);

  /// `partials`: this rank's maximal subtrees, in order. `total` may be one of them.
  void run(std::span<float* const> partials, float* total);

  /// Bytes that such an object holds for a rank.
  static int64_t staging_bytes(int64_t ranks, int64_t groups, int64_t elements);

 private:
  void exchange();
  float* add_up(GroupRange node);
  GroupRange shard(int64_t rank) const;

  Communicator& communicator_;
  const Backend& backend_;
  int64_t groups_, elements_, shard_elements_;
  std::vector<std::vector<GroupRange>> subtrees_;  ///< of each rank
  std::unique_ptr<Buffer> staging_;                ///< this shard of every partial, by group
  std::vector<Sent> send_;
  std::vector<Received> receive_;
  std::vector<std::byte> host_;  ///< what is exchanged, where the device's memory is not the host's
};

}  // namespace levanter::dist
