// How the ranks of a data-parallel run exchange bytes, and how they begin and end.
//
// A rank is one share of a run: its part of every batch, its part of the state. Which ranks a
// process has is for the kind of communicator to say: threads has them all in this one; where ranks
// are processes, which MPI joins, their launcher starts the same program once for each rank and
// each has its own. So a run is told as the story of one rank, and nothing
// but this interface says what the others do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/network.h"

namespace levanter::dist {

using levanter::Received;
using levanter::Sent;

/// What a call of a communicator throws where another rank has abandoned the run. That rank tells
/// its error itself; this one only leaves, with the same exit code.
class Abandoned final : public std::exception {
 public:
  explicit Abandoned(ErrorKind kind) : kind_(kind) {}
  /// Of the other rank's error.
  ErrorKind kind() const { return kind_; }
  const char* what() const noexcept override { return "another rank of this run has stopped"; }

 private:
  ErrorKind kind_;
};

class Watch;

/// One rank's end. Calls are collective: every rank makes the same ones in the same order.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  /// Sends send[d] to each rank d and fills receive[s] from each rank s, itself included. Sizes
  /// agree pairwise. Pure movement: no bit changes, whatever the order.
  /// error  Abandoned; kDevice where a rank is gone without a word, such as a killed process, or
  ///        has not taken part within the deadline
  virtual void exchange(std::span<const Sent> send, std::span<const Received> receive) = 0;
  /// Tells the others that this rank will take part no more, for an error of that kind: their calls
  /// throw, waiting ones too. What was exchanged before stays whole.
  virtual void abandon(ErrorKind kind) = 0;
  /// Throws Abandoned where another rank has abandoned the run, for one that waits elsewhere than
  /// in exchange. Not collective.
  virtual void heed() {}
  /// This rank's waits for the others and their deadlines; null where all ranks are threads of one
  /// process, of which none can be missed.
  virtual Watch* watch() { return nullptr; }
};

/// Whether any rank says so; all ranks get the same answer. Collective.
bool any(Communicator& communicator, bool mine);

/// Every rank's value, by rank, as its bytes are. Collective.
template <class Value>
std::vector<Value> gather(Communicator& communicator, const Value& own) {
  static_assert(std::is_trivially_copyable_v<Value>);
  const auto ranks = static_cast<size_t>(communicator.size());
  std::vector<Value> values(ranks);
  std::vector<Received> receive;
  for (Value& value : values)
    receive.push_back({reinterpret_cast<std::byte*>(&value), sizeof value});
  const Sent sent{reinterpret_cast<const std::byte*>(&own), sizeof own};
  communicator.exchange(std::vector<Sent>(ranks, sent), receive);
  return values;
}

/// Fills `bytes` of every rank with those of `root`, as many on each. Collective.
void broadcast(Communicator& communicator, std::span<std::byte> bytes, int64_t root = 0);

/// The text of `root`, of any length, on every rank; what the others give is ignored. Collective.
std::string broadcast_text(Communicator& communicator, std::string_view text, int64_t root = 0);

/// Returns when every rank has come here. Collective.
void barrier(Communicator& communicator);

/// Every rank's text, of any length, by rank. Collective.
std::vector<std::string> gather_texts(Communicator& communicator, std::string_view text);

/// The text that `root` has for this rank, of one for each; what the others give is ignored.
/// Collective.
std::string scatter_texts(Communicator& communicator, std::span<const std::string> texts,
                          int64_t root = 0);

/// Every rank's text, by rank, on `root`; on the others as many empty ones. Collective.
std::vector<std::string> collect_texts(Communicator& communicator, std::string_view text,
                                       int64_t root = 0);

/// Where a rank runs.
struct Place {
  std::string host;
  std::string processors;  ///< that its process may use
  bool operator==(const Place&) const = default;
};
/// Every rank's, by rank. Collective.
std::vector<Place> gather_places(Communicator& communicator);

/// Returns where no rank gives a failure. Else the lowest rank that does throws it, so that what
/// all ranks find alike is told once, and all others throw Abandoned. Collective.
void agree(Communicator& communicator, const std::exception_ptr& failure);
/// What `work` returns, where it fails on no rank. Collective; `work` is not.
template <class Work>
auto together(Communicator& communicator, Work&& work) {
  constexpr bool returns = !std::is_void_v<decltype(work())>;
  std::optional<std::conditional_t<returns, decltype(work()), char>> result;
  std::exception_ptr failure;
  try {
    if constexpr (returns)
      result.emplace(work());
    else
      work();
  } catch (...) {
    failure = std::current_exception();
  }
  agree(communicator, failure);
  if constexpr (returns) return *std::move(result);
}

/// What a rank does.
using RankBody = std::function<void(Communicator& communicator)>;

/// One kind: src/dist/<name>.cpp defines `<name>_entry`.
struct CommunicatorEntry {
  const char* name;
  const char* summary;
  /// Calls `body`, which throws nothing, once for each rank that this process has of the run's
  /// `ranks`, the lowest of them in this thread, and returns when all calls have.
  /// error  where a rank cannot begin; then no rank waits for it
  void (*launch)(int64_t ranks, const RankBody& body);
};

std::span<const CommunicatorEntry* const> entries();
/// The kind called `name`, which a loaded config always names rightly.
const CommunicatorEntry& entry(std::string_view name);

/// Runs this process's ranks. One whose body throws abandons the others. Throws the error of the
/// lowest rank that has one of its own, else Abandoned where a rank of another process has.
void run_ranks(const CommunicatorEntry& kind, int64_t ranks, const RankBody& body);

}  // namespace levanter::dist
