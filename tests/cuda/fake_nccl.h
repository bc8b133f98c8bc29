// An NCCL between emulated cards, in the place of the real one.
//
// It records what it is told and moves bytes as late as the real one may: a communicator is joined,
// and a group is on its stream, only some questions after the call; a send and its receive happen
// when both streams have come to them. It refuses what the real one would (two ranks on a card,
// memory of another card, use before joining), and tells what would keep the real one waiting:
// sizes that differ, ranks that wait for each other, a group without an end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace levanter::testing {

/// The emulated cards have it while this lives: the only one, inside of the life of a FakeCuda.
class FakeNccl final {
 public:
  FakeNccl();
  ~FakeNccl();
  FakeNccl(const FakeNccl&) = delete;
  FakeNccl& operator=(const FakeNccl&) = delete;

  /// A mistake that the calls of one rank, or of all, are changed into.
  enum class Mistake {
    kNone,
    kNoGroupEnd,  ///< the ends of its groups are left out
    kShortSend,   ///< it sends a byte less than was said
    kNoGroup,     ///< its sends and receives are no group: one after the other
    kAbsent,      ///< its groups never begin, as those of a card that is gone
  };
  static constexpr int kAllRanks = -1;
  void plant(Mistake mistake, int rank = kAllRanks);
  /// Lets the `call`-th call from now on (1: the next) give an error.
  void fail(int64_t call);
  /// Lets a question after how it goes tell all ranks but this one that it is gone.
  void cut_off(int rank);
  void set_version(int version);  ///< 22809 at first

  int64_t calls() const;
  /// Bytes that came to another card.
  int64_t moved() const;
  /// Every group, in the order of its end, with its rank: "0: send 16 to 1, receive 16 from 1".
  std::vector<std::string> groups() const;
  /// Communicators that were given out and not given back.
  int64_t living() const;
  /// Those that were given back while something was under way, or for want of the others.
  int64_t aborted() const;
  /// What a rank did wrong, "" for nothing.
  std::string fault() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace levanter::testing
