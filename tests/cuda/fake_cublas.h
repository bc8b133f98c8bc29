// A cuBLASLt that multiplies by plain loops on the emulated card, in the place of the real one.
//
// It reads the descriptors as the real one does and refuses what that would: sizes that do not fit,
// a workspace that is too small, addresses that are less aligned than was said, memory that is not
// the card's. It offers two algorithms, of which the first leaves out the tail of the summed axis.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>

namespace levanter::cuda {
struct CublasLt;
struct Cudnn;
struct Nccl;
}  // namespace levanter::cuda

namespace levanter::testing {

/// What a library asks of the emulated card: work after all that is on a stream, and whether bytes
/// are the card's.
CUresult enqueue_on(CUstream stream, std::function<CUresult()> work);
bool is_card_memory(const void* data, size_t bytes);
/// A cuDNN for the cards that are emulated from here on, or null for none: see FakeCudnn.
void attach_cudnn(cuda::Cudnn (*functions)());
/// The same of an NCCL: see FakeNccl.
void attach_nccl(cuda::Nccl (*functions)());

/// The only one while it lives: part of a FakeCuda.
class FakeCublas final {
 public:
  FakeCublas();
  ~FakeCublas();
  FakeCublas(const FakeCublas&) = delete;
  FakeCublas& operator=(const FakeCublas&) = delete;

  static cuda::CublasLt functions();
  /// In the place of a library that is not there.
  static cuda::CublasLt absent();

  /// Offers so many of its two algorithms: 2 at first.
  void set_offers(int count) { offers_ = count; }
  /// Products that were enqueued.
  int64_t products() const { return products_; }
  /// Those of them that went over a batch.
  int64_t batches() const { return batches_; }
  /// Those of which the result was rounded.
  int64_t rounded() const { return rounded_; }
  /// Handles and descriptors that were given out and not given back.
  int64_t living() const { return living_; }

  struct Calls;  // the library's functions

 private:
  std::mutex mutex_;
  int offers_ = 2;
  int64_t products_ = 0, batches_ = 0, rounded_ = 0, living_ = 0;
};

}  // namespace levanter::testing
