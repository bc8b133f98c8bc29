// Named spans of time for a profiler to show, by NVIDIA's NVTX: Nsight Systems, or whatever library
// NVTX_INJECTION64_PATH names.
#pragma once

namespace levanter {

/// Whether a profiler listens: what a range's name costs need be spent only then. Always false in a
/// program that was built without the CUDA toolkit's headers.
bool ranges_are_shown();

/// A range of this thread, from here to the object's end, inside those that are open. Costs a
/// comparison where no profiler listens.
class Range final {
 public:
  explicit Range(const char* name) {
    if (ranges_are_shown()) open(name);
  }
  ~Range() {
    if (is_open_) close();
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  void open(const char* name);
  static void close();

  bool is_open_ = false;
};

}  // namespace levanter
