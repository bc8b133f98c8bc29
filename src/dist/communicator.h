// How the ranks of a data-parallel run exchange bytes, and the fixed-order sum built on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace levanter::dist {

struct Sent {
  const std::byte* data = nullptr;
  size_t bytes = 0;
};
struct Received {
  std::byte* data = nullptr;
  size_t bytes = 0;
};

/// One rank's end. Calls are collective: every rank makes the same ones in the same order.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  /// Sends send[d] to each rank d and fills receive[s] from each rank s, itself included. Sizes
  /// agree pairwise. Pure movement: no bit changes, whatever the order.
  virtual void exchange(std::span<const Sent> send, std::span<const Received> receive) = 0;
  /// Tells the others that this rank will take part no more: their calls throw, waiting ones too.
  virtual void abandon() = 0;
};

/// Whether any rank says so; all ranks get the same answer. Collective.
bool any(Communicator& communicator, bool mine);

/// One kind: src/dist/<name>.cpp defines `<name>_entry`.
struct CommunicatorEntry {
  const char* name;
  const char* summary;
  /// The ends of all ranks of this process.
  std::vector<std::unique_ptr<Communicator>> (*make)(int64_t ranks);
};

std::span<const CommunicatorEntry* const> entries();
/// The kind called `name`, which a loaded config always names rightly.
const CommunicatorEntry& entry(std::string_view name);

}  // namespace levanter::dist
