// The fixed tree in which gradients of groups are summed, on one rank and over ranks.
//
//   tree(n) = tree(p) + tree(n - p), p the largest power of two below n
//
// The tree depends on the number of groups alone. A rank sums the maximal subtrees that lie wholly
// in its own range; the rest of the tree is summed over ranks, so any number of ranks gives the
// same bits.
#pragma once

#include <cstdint>
#include <vector>

namespace levanter::dist {

/// Groups [begin, end).
struct GroupRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const GroupRange&) const = default;
};

/// The largest power of two below n, for n >= 2.
int64_t tree_split(int64_t n);

/// The maximal subtrees of tree(groups) inside `own`, in order.
std::vector<GroupRange> maximal_subtrees(int64_t groups, GroupRange own);

/// The groups of a rank: consecutive, sizes as equal as possible, larger first.
GroupRange groups_of_rank(int64_t groups, int64_t ranks, int64_t rank);
/// The microbatches of a group, likewise.
GroupRange microbatches_of_group(int64_t microbatches, int64_t groups, int64_t group);

/// One move of the local summation, over a stack of partial sums.
enum class TreeMove : uint8_t {
  kPush,      ///< the group just computed becomes the top of the stack
  kAddGroup,  ///< the group just computed is added to the top
  kAdd,       ///< the top is added to the one below it and taken off
};
/// The moves after each group of `own`, in order, that leave exactly the maximal subtrees on the
/// stack; and the highest that the stack gets.
struct TreeSchedule {
  std::vector<std::vector<TreeMove>> after_group;
  int64_t depth = 0;
  std::vector<GroupRange> subtrees;
};
TreeSchedule schedule_tree(int64_t groups, GroupRange own);

}  // namespace levanter::dist
