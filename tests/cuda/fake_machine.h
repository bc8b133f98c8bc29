// What the emulated machine holds, for the files that play its libraries.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/fake_cuda.h"

namespace levanter::testing {

namespace fake {

inline constexpr size_t kPage = 4096;
inline constexpr int kMostCards = 8;
inline constexpr unsigned kSharedBytes = 48 << 10;
inline constexpr std::string_view kCubin = "cubin of ";

/// CUDA_ERROR_NOT_READY for what waits for another card, and is to be asked again.
using Work = std::function<CUresult()>;
/// What was enqueued while it was captured.
struct Graph {
  std::vector<Work> nodes;
};
struct GraphExec {
  std::vector<Work> nodes;
};
struct Stream {
  int card = 0;
  std::deque<Work> queue = {};
  int64_t enqueued = 0, done = 0;
  Graph* capture = nullptr;
};
/// Happens when its stream has done so many.
struct Event {
  Stream* stream = nullptr;
  int64_t after = 0;
};
struct Module {
  std::string program;
};
struct Program {
  std::string name, text;
  std::vector<std::pair<std::string, std::string>> headers;
  bool compiled = false;
};
/// Pages of a card: `bytes` from an address on, at the end of what is mapped; then a page that is
/// never open.
struct Piece {
  int card = 0;
  std::byte* mapped = nullptr;
  size_t mapped_bytes = 0, bytes = 0;
};

}  // namespace fake

struct FakeCuda::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  mutable std::mutex mutex;
  std::condition_variable_any moved;  ///< something that another card may wait for
  std::map<std::byte*, fake::Piece> memory;
  std::map<std::byte*, size_t> pinned;
  std::set<fake::Stream*> streams;
  std::set<fake::Event*> events;
  std::set<fake::Graph*> graphs;
  std::set<fake::GraphExec*> graph_execs;
  std::set<fake::Module*> modules;
  std::set<fake::Program*> programs;
  std::map<const simt::Kernel*, unsigned> shared_bytes;  ///< of kernels that asked for more
  int cards = 1;
  std::array<int, fake::kMostCards> contexts{};  ///< of each card
  /// What every call gives once a kernel of the card has failed.
  std::array<CUresult, fake::kMostCards> broken{};
  simt::Order order = simt::Order::kForward;
  int multiprocessors = 1, major = 9, driver_version = 13000, compilations = 0;
  int64_t capacity = int64_t{4} << 30;  ///< of each card
  int64_t calls = 0, failing_call = -1, replays = 0;
  CUresult failing_result = CUDA_SUCCESS;
  int64_t most = 0;  ///< bytes that were used at once
  std::string fault;

  /// Of a card's memory.
  void protect(int card, int protection) const;
  /// Runs a stream until it has done `until`, or CUDA_ERROR_NOT_READY where it waits for another
  /// card.
  CUresult run(fake::Stream& stream, int64_t until);
  /// The same, however long another card takes.
  CUresult finish(fake::Stream& stream, int64_t until);
  CUresult enqueue(CUstream handle, fake::Work work);
  /// Whether the bytes are the card's.
  bool is_memory(CUdeviceptr address, size_t bytes, int card) const;
  bool is_pinned(const void* data, size_t bytes) const;
  unsigned shared_bytes_of(const simt::Kernel& kernel) const {
    const auto found = shared_bytes.find(&kernel);
    return found == shared_bytes.end() ? fake::kSharedBytes : found->second;
  }
  int64_t used(int card) const;
  int64_t used() const;
};

namespace fake {

/// The only one.
extern FakeCuda::State* machine;
/// The card whose context is the calling thread's; -1 for none.
int current_card();

/// One call of the driver: counted, failing when its turn is.
template <class Call>
CUresult called(Call&& call) {
  const std::lock_guard lock(machine->mutex);
  if (++machine->calls == machine->failing_call) return machine->failing_result;
  return call(*machine);
}
/// One that needs a context.
template <class Call>
CUresult called_inside(Call&& call) {
  return called([&](FakeCuda::State& s) {
    const int card = current_card();
    if (card < 0 || s.contexts[static_cast<size_t>(card)] == 0) return CUDA_ERROR_INVALID_CONTEXT;
    if (s.broken[static_cast<size_t>(card)] != CUDA_SUCCESS)
      return s.broken[static_cast<size_t>(card)];
    return call(s);
  });
}

/// The NVRTC of the emulated machine.
cuda::Nvrtc nvrtc();

}  // namespace fake

}  // namespace levanter::testing
