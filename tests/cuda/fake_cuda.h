// A driver, an NVRTC and a cuBLASLt that run kernels on the emulated device, in the place of the
// real ones.
//
// The card's memory is pages that nobody can touch but kernels and copies while they run: any other
// access is a segmentation fault. Streams are queues that run as late as they may, limits are a
// real card's, and what is given out is counted. The n-th call of the driver fails on demand.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cuda/fake_cublas.h"
#include "cuda/simt.h"
#include "kernels/cuda/kernel.h"

namespace levanter::testing {

/// One machine with emulated cards, the only one while it lives. It outlives what is made on it.
class FakeCuda final {
 public:
  FakeCuda();
  ~FakeCuda();
  FakeCuda(const FakeCuda&) = delete;
  FakeCuda& operator=(const FakeCuda&) = delete;

  /// cache  the folder of compiled kernels, "" for none
  /// With LEVANTER_TEST_CARD=1 in the environment it is the machine's own card instead, for the
  /// tests that ask for nothing but results: those with the tag [card].
  static cuda::Source source(std::string cache = "");
  static std::unique_ptr<Backend> backend();
  /// For train::RunOptions.
  static std::unique_ptr<Backend> make(std::string_view device, int threads);

  void set_order(simt::Order order);
  /// So many cards, each with memory of its own: 1 at first, 8 at most.
  void set_cards(int count);
  /// A card's: 1 at first.
  void set_multiprocessors(int count);
  /// The compute capability's: 9 at first.
  void set_major(int major);
  /// 13000 at first.
  void set_driver_version(int version);
  /// Lets the `call`-th call of the driver from now on (1: the next) give `result`.
  void fail(int64_t call, CUresult result);
  /// So many bytes of a card's memory and no more.
  void set_memory(int64_t bytes);

  int64_t calls() const;
  int64_t memory() const;  ///< bytes that are given out
  int64_t memory(int card) const;
  int64_t most_memory() const;  ///< bytes that were at once
  int compilations() const;
  int64_t replays() const;  ///< of recorded graphs
  /// What was given out and not given back: "2 pieces of memory, 1 stream"; "" for nothing.
  std::string living() const;
  /// What a kernel did wrong, "" for nothing.
  std::string fault() const;

  FakeCublas cublas;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace levanter::testing
