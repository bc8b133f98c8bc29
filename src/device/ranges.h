// Named spans of time for a profiler to show, by NVIDIA's NVTX: Nsight Systems, or whatever library
// NVTX_INJECTION64_PATH names. The same spans make a trace: see device/tracing.h.
#pragma once

#include <memory>
#include <string_view>

namespace levanter {

/// Whether a profiler listens or a trace is kept: what a range's name costs need be spent only
/// then. No profiler does in a program that was built without the CUDA toolkit's headers.
bool ranges_are_shown();

/// A range of this thread, from here to the object's end, inside those that are open. Costs
/// comparisons alone where nobody looks.
class Range final {
 public:
  /// `detail`: where in the model, which step, ...
  explicit Range(const char* name, std::string_view detail = {}) {
    if (ranges_are_shown()) open(name, detail);
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  struct Open;
  struct Closer {
    void operator()(Open* open) const;
  };

  void open(const char* name, std::string_view detail);

  std::unique_ptr<Open, Closer> open_;
};

}  // namespace levanter
