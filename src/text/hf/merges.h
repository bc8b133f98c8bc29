// The merge rule of byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) over ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace levanter::text::hf {

/// Two tokens that become one. Their order in a list is their rank, the first goes first.
struct Merge {
  int32_t left, right, result;
};

/// The merges by their pair.
class MergeTable final {
 public:
  MergeTable() : MergeTable(std::span<const Merge>()) {}
  /// Of pairs listed twice the later one counts.
  explicit MergeTable(std::span<const Merge> merges);

  /// Merges neighbours until no merge applies, always the one of lowest rank, the leftmost of
  /// equals. Takes O(n log n) steps for long rows.
  ///   returns how many ids are left, at the front of `ids`
  size_t apply(std::span<int32_t> ids) const;

 private:
  struct Found {
    uint32_t rank;
    int32_t result;
  };
  struct Slot {
    uint64_t pair = kEmpty;
    Found found{};
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static constexpr uint32_t kNone = ~uint32_t{0};

  static uint64_t pair_of(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t start_of(uint64_t pair) const {
    return static_cast<size_t>((pair ^ pair >> 29) * 0x9E3779B97F4A7C15u >> shift_);
  }
  Found find(int32_t left, int32_t right) const {
    const uint64_t pair = pair_of(left, right);
    for (size_t at = start_of(pair);; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.pair == pair) return slot.found;
      if (slot.pair == kEmpty) return {kNone, 0};
    }
  }
  size_t apply_short(std::span<int32_t> ids) const;
  size_t apply_long(std::span<int32_t> ids) const;

  std::vector<Slot> slots_;
  size_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace levanter::text::hf
