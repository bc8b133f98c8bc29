// An end of a communicator that has no others.
#pragma once

#include "dist/communicator.h"

namespace levanter::testing {

/// Says which rank of how many it is; nothing can be exchanged.
class LoneEnd final : public dist::Communicator {
 public:
  explicit LoneEnd(int64_t rank = 0, int64_t size = 1) : rank_(rank), size_(size) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  void exchange(std::span<const dist::Sent>, std::span<const dist::Received>) override {
    throw Error(ErrorKind::kInternal, "there is nobody to exchange with");
  }
  void abandon(ErrorKind) override {}

 private:
  int64_t rank_, size_;
};

}  // namespace levanter::testing
