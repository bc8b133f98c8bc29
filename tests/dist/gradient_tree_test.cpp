// The fixed tree of gradient sums against its direct recursion.
#include "dist/gradient_tree.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "base/strings.h"

using namespace levanter;
using namespace levanter::dist;

namespace {

constexpr int64_t kMostGroups = 40;

/// tree(n) = tree(p) + tree(n - p) over the groups [begin, begin + n), as text.
std::string direct(int64_t begin, int64_t n) {
  if (n == 1) return cat(begin);
  int64_t p = 1;
  while (2 * p < n) p *= 2;
  return cat("(", direct(begin, p), "+", direct(begin + p, n - p), ")");
}

/// What a rank's stack holds after the moves, as text; checks the height on the way.
std::vector<std::string> played(const TreeSchedule& schedule, GroupRange own) {
  std::vector<std::string> stack;
  size_t highest = 0;
  for (int64_t group = own.begin; group < own.end; ++group)
    for (const TreeMove move : schedule.after_group[static_cast<size_t>(group - own.begin)]) {
      if (move == TreeMove::kPush) {
        stack.push_back(cat(group));
      } else if (move == TreeMove::kAddGroup) {
        REQUIRE(stack.size() >= 1);
        stack.back() = cat("(", stack.back(), "+", group, ")");
      } else {
        REQUIRE(stack.size() >= 2);
        const std::string top = stack.back();
        stack.pop_back();
        stack.back() = cat("(", stack.back(), "+", top, ")");
      }
      highest = std::max(highest, stack.size());
    }
  CHECK(static_cast<int64_t>(highest) == schedule.depth);
  return stack;
}

/// The whole tree from the ranks' pieces: a node is a piece, or the sum of its two parts.
std::string combined(GroupRange node, const std::vector<GroupRange>& pieces,
                     const std::vector<std::string>& sums) {
  for (size_t i = 0; i < pieces.size(); ++i)
    if (pieces[i] == node) return sums[i];
  REQUIRE(node.size() > 1);
  const int64_t middle = node.begin + tree_split(node.size());
  return cat("(", combined({node.begin, middle}, pieces, sums), "+",
             combined({middle, node.end}, pieces, sums), ")");
}

bool is_subtree(GroupRange node, GroupRange sought) {
  if (node == sought) return true;
  if (node.size() == 1) return false;
  const int64_t middle = node.begin + tree_split(node.size());
  return is_subtree({node.begin, middle}, sought) || is_subtree({middle, node.end}, sought);
}

}  // namespace

TEST_CASE("a tree splits at the largest power of two below its size", "[dist]") {
  const std::vector<int64_t> expected = {1, 2, 2, 4, 4, 4, 4, 8, 8};
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(tree_split(static_cast<int64_t>(i) + 2) == expected[i]);
  CHECK(tree_split(1025) == 1024);
  CHECK(tree_split(1024) == 512);
}

TEST_CASE("any number of ranks adds up the very tree of one", "[dist]") {
  for (int64_t groups = 1; groups <= kMostGroups; ++groups)
    for (int64_t ranks = 1; ranks <= groups; ++ranks) {
      INFO(groups << " groups, " << ranks << " ranks");
      std::vector<GroupRange> pieces;
      std::vector<std::string> sums;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const GroupRange own = groups_of_rank(groups, ranks, rank);
        const TreeSchedule schedule = schedule_tree(groups, own);
        const std::vector<std::string> stack = played(schedule, own);
        REQUIRE(stack.size() == schedule.subtrees.size());
        pieces.insert(pieces.end(), schedule.subtrees.begin(), schedule.subtrees.end());
        sums.insert(sums.end(), stack.begin(), stack.end());
      }
      REQUIRE(combined({0, groups}, pieces, sums) == direct(0, groups));
    }
}

TEST_CASE("a rank's subtrees cover its groups in order and cannot be larger", "[dist]") {
  for (int64_t groups = 1; groups <= kMostGroups; ++groups)
    for (int64_t begin = 0; begin < groups; ++begin)
      for (int64_t end = begin + 1; end <= groups; ++end) {
        const auto subtrees = maximal_subtrees(groups, {begin, end});
        int64_t at = begin;
        for (const GroupRange& subtree : subtrees) {
          REQUIRE(subtree.begin == at);
          REQUIRE(is_subtree({0, groups}, subtree));
          at = subtree.end;
        }
        REQUIRE(at == end);
        for (size_t i = 1; i < subtrees.size(); ++i)  // two neighbours that were one are one
          REQUIRE_FALSE(is_subtree({0, groups}, {subtrees[i - 1].begin, subtrees[i].end}));
      }
}

TEST_CASE("one rank ends with one sum, and its stack grows with the logarithm", "[dist]") {
  for (int64_t groups = 1; groups <= 1000; ++groups) {
    const TreeSchedule schedule = schedule_tree(groups, {0, groups});
    REQUIRE(schedule.subtrees == std::vector<GroupRange>{{0, groups}});
    int64_t log2 = 0;
    while ((int64_t{1} << log2) < groups) ++log2;
    REQUIRE(schedule.depth <= std::max<int64_t>(log2, 1));
  }
}

TEST_CASE("groups and microbatches are shared out equally, larger shares first", "[dist]") {
  for (const auto share : {groups_of_rank, microbatches_of_group})
    for (int64_t things = 1; things <= 30; ++things)
      for (int64_t parts = 1; parts <= things; ++parts) {
        int64_t at = 0, before = things;
        for (int64_t part = 0; part < parts; ++part) {
          const GroupRange range = share(things, parts, part);
          REQUIRE(range.begin == at);
          REQUIRE(range.size() <= before);
          REQUIRE(range.size() >= things / parts);
          REQUIRE(range.size() <= (things + parts - 1) / parts);
          at = range.end;
          before = range.size();
        }
        REQUIRE(at == things);
      }
}
