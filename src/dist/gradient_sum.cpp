// The sum of all groups' gradients over all ranks, in the order of the fixed tree.
#include "dist/gradient_sum.h"

#include <algorithm>

#include "base/error.h"
#include "base/integers.h"

namespace levanter::dist {

namespace {

constexpr int64_t kElementBytes = sizeof(float);

std::byte* bytes(float* p) { return reinterpret_cast<std::byte*>(p); }
const std::byte* bytes(const float* p) { return reinterpret_cast<const std::byte*>(p); }

int64_t count_subtrees(int64_t ranks, int64_t groups) {
  size_t count = 0;
  for (int64_t r = 0; r < ranks; ++r)
    count += maximal_subtrees(groups, groups_of_rank(groups, ranks, r)).size();
  return static_cast<int64_t>(count);
}

}  // namespace

GradientSum::GradientSum(Communicator& communicator, const Backend& backend, int64_t groups,
                         int64_t elements)
    : communicator_(communicator),
      backend_(backend),
      groups_(groups),
      elements_(elements),
      shard_elements_(ceil_div(elements, communicator.size())) {
  const int64_t ranks = communicator.size();
  for (int64_t r = 0; r < ranks; ++r)
    subtrees_.push_back(maximal_subtrees(groups, groups_of_rank(groups, ranks, r)));
  if (ranks > 1) staging_ = backend.allocate(staging_bytes(ranks, groups, elements));
  send_.resize(static_cast<size_t>(ranks));
  receive_.resize(static_cast<size_t>(ranks));
}

int64_t GradientSum::staging_bytes(int64_t ranks, int64_t groups, int64_t elements) {
  if (ranks == 1) return 0;
  // One piece for each subtree of every rank; what this rank sends is packed in memory of its own.
  const int64_t own = groups_of_rank(groups, ranks, 0).size();  // no rank has more subtrees
  return (count_subtrees(ranks, groups) + own * ranks) * ceil_div(elements, ranks) * 4;
}

GroupRange GradientSum::shard(int64_t rank) const {
  const int64_t begin = std::min(elements_, rank * shard_elements_);
  return {begin, std::min(elements_, begin + shard_elements_)};
}

void GradientSum::run(std::span<float* const> partials, float* total) {
  const int64_t ranks = communicator_.size();
  if (ranks == 1) {
    // One rank's maximal subtree is the whole tree.
    LEV_CHECK(partials.size() == 1, "one rank has one subtree");
    if (partials[0] != total)
      backend_.copy(bytes(total), bytes(partials[0]), elements_ * kElementBytes);
    return;
  }
  // Pack: for each destination its shard of each of this rank's partial sums.
  auto* const pieces = reinterpret_cast<float*>(staging_->data());
  float* packed = pieces + count_subtrees(ranks, groups_) * shard_elements_;
  for (int64_t d = 0; d < ranks; ++d) {
    const GroupRange range = shard(d);
    send_[static_cast<size_t>(d)] = {reinterpret_cast<std::byte*>(packed), 0};
    for (const float* partial : partials) {
      backend_.copy(bytes(packed), bytes(partial + range.begin), range.size() * kElementBytes);
      packed += range.size();
      send_[static_cast<size_t>(d)].bytes += static_cast<size_t>(range.size()) * 4;
    }
  }
  const GroupRange own = shard(communicator_.rank());
  float* at = pieces;
  for (int64_t s = 0; s < ranks; ++s) {
    const auto count = static_cast<int64_t>(subtrees_[static_cast<size_t>(s)].size());
    receive_[static_cast<size_t>(s)] = {reinterpret_cast<std::byte*>(at),
                                        static_cast<size_t>(count * own.size()) * 4};
    at += count * own.size();
  }
  exchange();
  const float* sum = add_up({0, groups_});
  // Every rank's shard to everybody.
  for (int64_t r = 0; r < ranks; ++r) {
    const GroupRange range = shard(r);
    send_[static_cast<size_t>(r)] = {reinterpret_cast<const std::byte*>(sum),
                                     static_cast<size_t>(own.size()) * 4};
    receive_[static_cast<size_t>(r)] = {reinterpret_cast<std::byte*>(total + range.begin),
                                        static_cast<size_t>(range.size()) * 4};
  }
  exchange();
}

/// Exchanges send_ and receive_, which lie in the device's memory.
void GradientSum::exchange() {
  if (backend_.is_host()) return communicator_.exchange(send_, receive_);
  size_t total = 0;
  for (const Sent& sent : send_) total += sent.bytes;
  for (const Received& received : receive_) total += received.bytes;
  host_.resize(total);
  std::byte* at = host_.data();
  std::vector<Sent> send = send_;
  std::vector<Received> receive = receive_;
  for (Sent& sent : send) {
    if (sent.bytes > 0) backend_.download({at, sent.bytes}, sent.data);
    sent.data = at;
    at += sent.bytes;
  }
  for (Received& received : receive) {
    received.data = at;
    at += received.bytes;
  }
  communicator_.exchange(send, receive);
  for (size_t i = 0; i < receive.size(); ++i)
    if (receive[i].bytes > 0)
      backend_.upload(receive_[i].data, {receive[i].data, receive[i].bytes});
}

/// The sum of this rank's shard over the groups of `node`, in the memory of its leftmost piece.
float* GradientSum::add_up(GroupRange node) {
  const int64_t width = shard(communicator_.rank()).size();
  auto* piece = reinterpret_cast<float*>(staging_->data());
  for (const auto& subtrees : subtrees_)
    for (const GroupRange& subtree : subtrees) {
      if (subtree == node) return piece;
      piece += width;
    }
  const int64_t middle = node.begin + tree_split(node.size());
  float* left = add_up({node.begin, middle});
  const float* right = add_up({middle, node.end});
  backend_.add(left, right, width);
  return left;
}

}  // namespace levanter::dist
