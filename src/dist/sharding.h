// What ranks have parts of, and how flat arrays and lists are cut into those parts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace levanter::dist {

/// What of the state each rank has a part of, instead of a copy of all of it.
enum class Sharding {
  kNone,
  /// The optimizer's state, of consecutive rows of parameters: a rank updates those that are its
  /// own, and gets the others from theirs (ZeRO stage 1; Rajbhandari et al. 2020,
  /// arXiv:1910.02054). What is not updated element by element stays whole.
  kOptimizer,
  /// The parameters too, each whole: those of others are gathered a block of the model at a time
  /// where it is read, and dropped after (ZeRO stage 3, but for the gradients).
  kParameters,
};

/// A rank's part of a flat array: elements [begin, end).
struct Shard {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const Shard&) const = default;
};

/// So many elements, cut into one shard for each rank, as equal as can be.
std::vector<Shard> equal_shards(int64_t elements, int64_t ranks);

/// Things of these sizes in consecutive parts, each thing whole, so that the largest part is as
/// small as can be: of each part the things [begin, end). Late parts may be empty.
std::vector<Shard> whole_shards(std::span<const int64_t> sizes, int64_t ranks);

}  // namespace levanter::dist
