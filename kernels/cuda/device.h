// An open card: its context, one stream on which everything is enqueued, and pinned memory through
// which bytes come and go.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/backend.h"
#include "kernels/cuda/api.h"
#include "kernels/cuda/device/arguments.h"

namespace levanter::cuda {

/// The cards that CUDA_VISIBLE_DEVICES leaves, by the names that nvidia-smi -L gives them,
/// "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"; at least one.
/// error  kDevice where there is none
std::vector<std::string> list_cards(const Driver& driver);

/// How many threads run a kernel.
struct Grid {
  std::array<int64_t, 3> blocks{1, 1, 1};
  int threads = kThreads;    ///< of each block
  int64_t shared_bytes = 0;  ///< of each block, in addition to what the kernel names itself
};

/// Every call may come from any thread, and throws kDevice with the driver's words for a failure.
/// An error of something enqueued before shows in a later call, as the driver tells it.
class Device final {
 public:
  /// Opens the card of this place in list_cards.
  /// error  kDevice where there is none, or none that is new enough
  Device(const Driver& driver, size_t place);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Driver& driver() const { return driver_; }
  /// "NVIDIA H200"
  const std::string& name() const { return name_; }
  /// Its name in list_cards.
  const std::string& identity() const { return identity_; }
  /// "sm_90": what its kernels are compiled for.
  const std::string& architecture() const { return architecture_; }
  /// 9 for sm_90.
  int major() const { return major_; }
  int multiprocessors() const { return multiprocessors_; }
  /// 13000 for one that knows CUDA 13.0.
  int driver_version() const { return driver_version_; }
  CUcontext context() const { return context_; }
  CUstream stream() const { return stream_; }

  /// Throws unless `result` is success; `what` was to be done.
  void require(CUresult result, std::string_view what) const;
  /// Makes the card's context the calling thread's, which all calls of the driver need.
  void enter() const;

  /// Bytes of memory that are free.
  int64_t free_memory() const;
  /// Memory of the card, zero-filled.
  std::byte* allocate(int64_t bytes) const;
  void free(std::byte* data) const;
  void upload(std::byte* to, std::span<const std::byte> from) const;
  void download(std::span<std::byte> to, const std::byte* from) const;
  void copy(std::byte* to, const std::byte* from, int64_t bytes) const;
  void fill(std::byte* to, int64_t bytes, std::byte value) const;
  void synchronize() const;
  /// What `work` enqueues while it is run once, of which nothing is done; null where kernels are
  /// waited for one by one. Only kernels and copies and fills on the card may be enqueued.
  std::unique_ptr<Recording> record(const Runnable& work) const;
  /// Lets a kernel's blocks have all the shared memory that the card gives to one.
  void allow_shared_memory(CUfunction function) const;
  /// `arguments` is the kernel's one parameter.
  void launch(CUfunction function, const char* name, const Grid& grid, const void* arguments) const;
  /// Comes after what a library has enqueued.
  void launched(std::string_view what) const;

 private:
  /// A piece of pinned memory, and the event after which it is free again.
  struct Piece {
    std::byte* data = nullptr;
    CUevent free = nullptr;
  };
  static constexpr size_t kPieceBytes = 4 << 20;

  void open(size_t place);
  void close();
  int attribute(CUdevice_attribute attribute) const;
  /// The next piece, when the card has done with it.
  Piece& next_piece() const;

  Driver driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  std::string name_, identity_, architecture_;
  int major_ = 0, multiprocessors_ = 0;
  int driver_version_ = 0;
  bool waits_ = false;        ///< after each kernel, to name the one that failed
  mutable std::mutex mutex_;  ///< of the pieces
  mutable std::array<Piece, 2> pieces_;
  mutable size_t turn_ = 0;
};

}  // namespace levanter::cuda
