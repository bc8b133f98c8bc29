// The merge rule of byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) over ids.
#include "text/hf/merges.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

namespace levanter::text::hf {
namespace {

constexpr size_t kShort = 48;  // ids up to which looking through all pairs is quicker than a heap

}  // namespace

MergeTable::MergeTable(std::span<const Merge> merges) {
  const size_t slots = std::bit_ceil(2 * merges.size() + 16);
  slots_.resize(slots);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    const uint64_t pair = pair_of(merge.left, merge.right);
    size_t at = start_of(pair);
    while (slots_[at].pair != kEmpty && slots_[at].pair != pair) at = (at + 1) & mask_;
    slots_[at] = {pair, {static_cast<uint32_t>(rank), merge.result}};
  }
}

size_t MergeTable::apply(std::span<int32_t> ids) const {
  if (ids.size() < 2) return ids.size();
  return ids.size() <= kShort ? apply_short(ids) : apply_long(ids);
}

size_t MergeTable::apply_short(std::span<int32_t> ids) const {
  std::array<Found, kShort> pairs;  // pairs[i] is what ids[i] and ids[i + 1] become
  size_t count = ids.size();
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = find(ids[i], ids[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (pairs[i].rank < pairs[best].rank) best = i;
    if (pairs[best].rank == kNone) break;
    ids[best] = pairs[best].result;
    --count;
    for (size_t i = best + 1; i < count; ++i) ids[i] = ids[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) pairs[i] = pairs[i + 1];
    if (best > 0) pairs[best - 1] = find(ids[best - 1], ids[best]);
    if (best + 1 < count) pairs[best] = find(ids[best], ids[best + 1]);
  }
  return count;
}

size_t MergeTable::apply_long(std::span<int32_t> ids) const {
  // A list of the ids that are left, and a heap of the pairs that were neighbours at some time.
  constexpr uint32_t kEnd = ~uint32_t{0};
  struct Node {
    uint32_t before, after;
  };
  struct Pair {
    uint32_t rank, at;
    int32_t left, right, result;
    bool operator>(const Pair& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  const auto count = static_cast<uint32_t>(ids.size());
  std::vector<Node> nodes(count);
  std::vector<Pair> pairs;
  const auto pair_at = [&](uint32_t at, uint32_t after) {
    const Found found = find(ids[at], ids[after]);
    return Pair{found.rank, at, ids[at], ids[after], found.result};
  };
  for (uint32_t i = 0; i < count; ++i) {
    nodes[i] = {i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1};
    if (i + 1 == count) break;
    if (const Pair pair = pair_at(i, i + 1); pair.rank != kNone) pairs.push_back(pair);
  }
  std::priority_queue heap(std::greater<Pair>{}, std::move(pairs));
  while (!heap.empty()) {
    const Pair pair = heap.top();
    heap.pop();
    if (ids[pair.at] != pair.left) continue;  // merged since, or gone: -1
    const uint32_t after = nodes[pair.at].after;
    if (after == kEnd || ids[after] != pair.right) continue;
    ids[pair.at] = pair.result;
    ids[after] = -1;
    const uint32_t next = nodes[pair.at].after = nodes[after].after;
    if (next != kEnd) {
      nodes[next].before = pair.at;
      if (const Pair p = pair_at(pair.at, next); p.rank != kNone) heap.push(p);
    }
    if (const uint32_t before = nodes[pair.at].before; before != kEnd)
      if (const Pair p = pair_at(before, pair.at); p.rank != kNone) heap.push(p);
  }
  return static_cast<size_t>(std::remove(ids.begin(), ids.end(), -1) - ids.begin());
}

}  // namespace levanter::text::hf
