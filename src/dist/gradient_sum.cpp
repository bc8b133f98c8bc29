// The sum of all groups' gradients over all ranks, in the order of the fixed tree.
#include "dist/gradient_sum.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace levanter::dist {

namespace {

constexpr int64_t kElementBytes = sizeof(float);

std::byte* bytes(float* p) { return reinterpret_cast<std::byte*>(p); }
size_t bytes_of(const Shard& shard) { return static_cast<size_t>(shard.size() * kElementBytes); }

/// What both have; empty, at some place of the first, where they have nothing in common.
Shard common(const Shard& a, const Shard& b) {
  const int64_t begin = std::clamp(b.begin, a.begin, a.end);
  return {begin, std::clamp(b.end, begin, a.end)};
}

std::vector<std::vector<GroupRange>> subtrees_of(int64_t groups, int64_t ranks) {
  std::vector<std::vector<GroupRange>> subtrees;
  for (int64_t r = 0; r < ranks; ++r)
    subtrees.push_back(maximal_subtrees(groups, groups_of_rank(groups, ranks, r)));
  return subtrees;
}

}  // namespace

GradientSum::GradientSum(ArrayExchange& exchange, int64_t groups, std::vector<Shard> shards)
    : exchange_(exchange),
      groups_(groups),
      shards_(std::move(shards)),
      subtrees_(subtrees_of(groups, exchange.communicator().size())) {
  LEV_CHECK(std::ssize(shards_) == exchange.communicator().size(), "every rank has a shard");
  const int64_t staged = staging_bytes(groups, shards_, exchange.communicator().rank());
  if (staged > 0) staging_ = exchange.backend().allocate(staged);
}

int64_t GradientSum::staging_bytes(int64_t groups, std::span<const Shard> shards, int64_t rank) {
  if (shards.size() == 1) return 0;
  int64_t pieces = 0;  // one for each subtree of every rank
  const int64_t ranks = std::ssize(shards);
  for (int64_t r = 0; r < ranks; ++r)
    pieces += std::ssize(maximal_subtrees(groups, groups_of_rank(groups, ranks, r)));
  return pieces * shards[static_cast<size_t>(rank)].size() * kElementBytes;
}

void GradientSum::reduce(std::span<float* const> partials, float* total, const Shard& part,
                         bool beside_kernels) {
  const auto ranks = shards_.size();
  if (ranks == 1) {
    // One rank's maximal subtree is the whole tree.
    LEV_CHECK(partials.size() == 1, "one rank has one subtree");
    if (partials[0] != total)
      exchange_.backend().copy(bytes(total + part.begin), bytes(partials[0] + part.begin),
                               part.size() * kElementBytes);
    return;
  }
  const Shard mine = common(own(), part);
  size_t rounds = 0;  // each moves one subtree of every rank that has so many
  for (const auto& subtrees : subtrees_) rounds = std::max(rounds, subtrees.size());
  for (size_t round = 0; round < rounds; ++round) {
    std::vector<Sent> send(ranks);
    std::vector<Received> receive(ranks);
    std::byte* piece = staging_ ? staging_->data() : nullptr;
    for (size_t r = 0; r < ranks; ++r) {
      const Shard theirs = common(shards_[r], part);
      if (round < partials.size())
        send[r] = {bytes(partials[round] + theirs.begin), bytes_of(theirs)};
      if (round < subtrees_[r].size())
        receive[r] = {piece + round * bytes_of(own()) + bytes_of({own().begin, mine.begin}),
                      bytes_of(mine)};
      piece += subtrees_[r].size() * bytes_of(own());
    }
    exchange_.run(send, receive);
  }
  if (mine.size() == 0) return;
  exchange_.backend().copy(bytes(total + mine.begin),
                           bytes(add_up({0, groups_}, mine, beside_kernels)),
                           mine.size() * kElementBytes);
}

void GradientSum::gather(float* array) { gather_shards(exchange_, shards_, array); }

/// The sum of a part of this rank's shard over the groups of `node`, in the memory of its leftmost
/// piece.
float* GradientSum::add_up(GroupRange node, const Shard& part, bool beside_kernels) {
  auto* piece = reinterpret_cast<float*>(staging_->data()) + (part.begin - own().begin);
  for (const auto& subtrees : subtrees_)
    for (const GroupRange& subtree : subtrees) {
      if (subtree == node) return piece;
      piece += own().size();
    }
  const int64_t middle = node.begin + tree_split(node.size());
  float* left = add_up({node.begin, middle}, part, beside_kernels);
  const float* right = add_up({middle, node.end}, part, beside_kernels);
  const Backend& backend = exchange_.backend();
  if (beside_kernels)
    backend.Backend::add(left, right, part.size());
  else
    backend.add(left, right, part.size());
  return left;
}

void gather_shards(ArrayExchange& exchange, std::span<const Shard> shards, float* array) {
  if (shards.size() == 1) return;
  const int64_t rank = exchange.communicator().rank();
  const Shard& own = shards[static_cast<size_t>(rank)];
  std::vector<Sent> send;
  std::vector<Received> receive;
  for (size_t r = 0; r < shards.size(); ++r) {
    const bool self = static_cast<int64_t>(r) == rank;
    send.push_back({bytes(array + own.begin), self ? 0 : bytes_of(own)});
    receive.push_back({bytes(array + shards[r].begin), self ? 0 : bytes_of(shards[r])});
  }
  exchange.run(send, receive);
}

}  // namespace levanter::dist
