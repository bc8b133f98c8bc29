// The fixed tree in which gradients are summed: its shares, subtrees and moves.
#include "dist/gradient_tree.h"

#include <algorithm>

namespace levanter::dist {

namespace {

GroupRange equal_share(int64_t things, int64_t parts, int64_t part) {
  const int64_t size = things / parts, larger = things % parts;
  const int64_t begin = part * size + std::min(part, larger);
  return {begin, begin + size + (part < larger ? 1 : 0)};
}

void collect(GroupRange node, GroupRange own, std::vector<GroupRange>& found) {
  if (node.begin >= own.end || node.end <= own.begin) return;
  if (node.begin >= own.begin && node.end <= own.end) {
    found.push_back(node);
    return;
  }
  const int64_t middle = node.begin + tree_split(node.size());
  collect({node.begin, middle}, own, found);
  collect({middle, node.end}, own, found);
}

/// The moves that sum the groups of `node`, onto a stack of `depth` sums.
void sum_moves(GroupRange node, int64_t depth, int64_t first, TreeSchedule& schedule) {
  const auto after = [&](int64_t group) -> std::vector<TreeMove>& {
    return schedule.after_group[static_cast<size_t>(group - first)];
  };
  if (node.size() == 1) {
    after(node.begin).push_back(TreeMove::kPush);
    schedule.depth = std::max(schedule.depth, depth + 1);
    return;
  }
  const int64_t middle = node.begin + tree_split(node.size());
  sum_moves({node.begin, middle}, depth, first, schedule);
  if (node.end - middle == 1) {  // it need not be on the stack to be added
    after(middle).push_back(TreeMove::kAddGroup);
    return;
  }
  sum_moves({middle, node.end}, depth + 1, first, schedule);
  after(node.end - 1).push_back(TreeMove::kAdd);
}

}  // namespace

int64_t tree_split(int64_t n) {
  int64_t p = 1;
  while (p * 2 < n) p *= 2;
  return p;
}

std::vector<GroupRange> maximal_subtrees(int64_t groups, GroupRange own) {
  std::vector<GroupRange> found;
  collect({0, groups}, own, found);
  return found;
}

GroupRange groups_of_rank(int64_t groups, int64_t ranks, int64_t rank) {
  return equal_share(groups, ranks, rank);
}

GroupRange microbatches_of_group(int64_t microbatches, int64_t groups, int64_t group) {
  return equal_share(microbatches, groups, group);
}

TreeSchedule schedule_tree(int64_t groups, GroupRange own) {
  TreeSchedule schedule;
  schedule.after_group.resize(static_cast<size_t>(own.size()));
  schedule.subtrees = maximal_subtrees(groups, own);
  int64_t depth = 0;
  for (const GroupRange& subtree : schedule.subtrees)
    sum_moves(subtree, depth++, own.begin, schedule);
  return schedule;
}

}  // namespace levanter::dist
