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

/// Exchanges what lies in the device's memory, through `host` where the host cannot read it there.
void exchange_on(Communicator& communicator, const Backend& backend, std::span<const Sent> send,
                 std::span<const Received> receive, std::vector<std::byte>& host) {
  if (backend.is_host()) return communicator.exchange(send, receive);
  size_t total = 0;
  for (const Sent& sent : send) total += sent.bytes;
  for (const Received& received : receive) total += received.bytes;
  host.resize(total);
  std::byte* at = host.data();
  std::vector<Sent> host_send(send.begin(), send.end());
  std::vector<Received> host_receive(receive.begin(), receive.end());
  for (Sent& sent : host_send) {
    if (sent.bytes > 0) backend.download({at, sent.bytes}, sent.data);
    sent.data = at;
    at += sent.bytes;
  }
  for (Received& received : host_receive) {
    received.data = at;
    at += received.bytes;
  }
  communicator.exchange(host_send, host_receive);
  for (size_t i = 0; i < receive.size(); ++i)
    if (receive[i].bytes > 0)
      backend.upload(receive[i].data, {host_receive[i].data, receive[i].bytes});
}

}  // namespace

GradientSum::GradientSum(Communicator& communicator, const Backend& backend, int64_t groups,
                         std::vector<Shard> shards)
    : communicator_(communicator),
      backend_(backend),
      groups_(groups),
      shards_(std::move(shards)),
      subtrees_(subtrees_of(groups, communicator.size())) {
  LEV_CHECK(std::ssize(shards_) == communicator.size(), "every rank has a shard");
  const int64_t staged = staging_bytes(groups, shards_, communicator.rank());
  if (staged > 0) staging_ = backend.allocate(staged);
}

int64_t GradientSum::staging_bytes(int64_t groups, std::span<const Shard> shards, int64_t rank) {
  if (shards.size() == 1) return 0;
  int64_t pieces = 0;  // one for each subtree of every rank
  for (const auto& subtrees : subtrees_of(groups, std::ssize(shards)))
    pieces += std::ssize(subtrees);
  return pieces * shards[static_cast<size_t>(rank)].size() * kElementBytes;
}

void GradientSum::reduce(std::span<float* const> partials, float* total, const Shard& part,
                         bool beside_kernels) {
  const auto ranks = shards_.size();
  if (ranks == 1) {
    // One rank's maximal subtree is the whole tree.
    LEV_CHECK(partials.size() == 1, "one rank has one subtree");
    if (partials[0] != total)
      backend_.copy(bytes(total + part.begin), bytes(partials[0] + part.begin),
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
    exchange_on(communicator_, backend_, send, receive, host_);
  }
  if (mine.size() == 0) return;
  backend_.copy(bytes(total + mine.begin), bytes(add_up({0, groups_}, mine, beside_kernels)),
                mine.size() * kElementBytes);
}

void GradientSum::gather(float* array) {
  gather_shards(communicator_, backend_, shards_, array, host_);
}

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
  if (beside_kernels)
    backend_.Backend::add(left, right, part.size());
  else
    backend_.add(left, right, part.size());
  return left;
}

void gather_shards(Communicator& communicator, const Backend& backend,
                   std::span<const Shard> shards, float* array, std::vector<std::byte>& host) {
  if (shards.size() == 1) return;
  const Shard& own = shards[static_cast<size_t>(communicator.rank())];
  std::vector<Sent> send;
  std::vector<Received> receive;
  for (size_t r = 0; r < shards.size(); ++r) {
    const bool self = static_cast<int64_t>(r) == communicator.rank();
    send.push_back({bytes(array + own.begin), self ? 0 : bytes_of(own)});
    receive.push_back({bytes(array + shards[r].begin), self ? 0 : bytes_of(shards[r])});
  }
  exchange_on(communicator, backend, send, receive, host);
}

}  // namespace levanter::dist
