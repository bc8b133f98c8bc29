// The debug mode of a compiled function: poisoned memory, and a map of who wrote each piece of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/lowering.h"

namespace levanter {

/// Watches the memory of one compiled function. Memory that holds no value is filled with a pattern
/// that every floating type reads as NaN: the arena and the results before a run, a value's place
/// after its last use, a kernel's workspace before the kernel.
///
/// Every fault is an internal error that names the nodes by module path and source line:
///   a step reads memory whose last writer is not the maker of the value that it should find
///   the memory that a step is to write first holds something: a value that is still alive, or what
///   a kernel wrote astray
///   the arena holds something after the run: a kernel wrote astray
///   the pattern is in a floating output: the kernel read past its operands, or left it unwritten
class MemoryCheck final {
 public:
  /// `offsets`: of every slot in the arena. All of them must outlive this.
  MemoryCheck(const Function& function, const Lowered& lowered, std::span<const int64_t> offsets,
              int64_t arena_bytes);

  /// As Executable::bind. Takes memory for the map: about as much as is watched.
  void bind(std::byte* arena, std::byte* workspace, std::span<std::byte* const> arguments,
            std::span<std::byte* const> results);
  void before_run();
  void before_step(size_t step);
  void after_step(size_t step);
  void after_run() const;
  /// Bytes of the map.
  int64_t bytes() const;

 private:
  /// One of the pieces of memory that bind names, with the last writer of each granule.
  struct Memory {
    std::byte* data = nullptr;
    int64_t bytes = 0;
    std::vector<int32_t> writers;
  };

  void find_makers();
  Memory& memory_of(const Slot& slot);
  template <class Visit>
  void each_run(const Place& place, Visit&& visit);
  const Slot& root(int slot) const;
  bool writes_over_input(const Step& step, const Place& output) const;
  void check_reads(size_t step, size_t input);
  void check_free(size_t step, const Place& output);
  void check_written(size_t step, const Place& output);
  void free_memory(const Slot& slot);
  std::string name(size_t step) const;
  std::string name_of_writer(int32_t writer) const;
  [[noreturn]] void fail(size_t step, const std::string& what) const;

  const Function& function_;
  const Lowered& lowered_;
  std::span<const int64_t> offsets_;
  int64_t granule_ = 4;
  std::vector<std::vector<int32_t>> makers_;  ///< the steps that make a node's values, by node
  std::vector<std::vector<int>> dying_;       ///< slots of the arena by the step of their last use
  Memory arena_;
  std::vector<Memory> arguments_, results_;
  std::byte* workspace_ = nullptr;
};

}  // namespace levanter
