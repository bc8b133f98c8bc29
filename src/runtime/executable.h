// A compiled function: a flat list of steps over one planned arena.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/backend.h"
#include "ops/function.h"
#include "passes/memory_plan.h"
#include "runtime/gather.h"

namespace levanter {

/// A buffer of the arena.
struct LiveBuffer {
  int64_t bytes = 0;
  std::string op, where;  ///< "gelu", "transformer.h.3.mlp, src/models/gpt2.cpp:52"
  bool saved_for_backward = false;
  int64_t offset = 0;       ///< in the arena
  int first = 0, last = 0;  ///< steps between which it is alive, both included
};

/// Watches a run step by step: the eager debugger and the profiler.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  /// Before and after each step; `outputs` are the pointers that it wrote.
  virtual void before(const Node& node) = 0;
  virtual void after(const Node& node, const std::string& where, void* const* outputs) = 0;
};

/// Hears in a run which results are there: nothing that comes later in it writes or reads them.
/// Each is told once, in the thread that runs.
class ResultListener {
 public:
  virtual ~ResultListener() = default;
  virtual void ready(size_t result) = 0;
};

/// What one step of a compiled function does.
struct StepCost {
  double flops = 0;           ///< 0 where the op counts none
  double bytes = 0;           ///< of its operands and results, each read or written once
  bool by_reference = false;  ///< its kernel is a plain loop of the reference backend
  std::string plan;           ///< a library's that its kernel runs by; mostly ""
};

struct CompileOptions {
  bool debug = false;  ///< runs check their memory: see runtime/memory_check.h
  /// Products of few rows may go by kernels of their own, which read a weight once; a row's bits
  /// then differ from those that it has among many.
  bool small_m = false;
  MemoryPlan (*plan)(std::span<const Lifetime>) = plan_memory;
};

/// Where arrays lie, by their names.
using Addresses = std::map<std::string, std::byte*, std::less<>>;

class Executable final {
 public:
  Executable(Executable&&) noexcept;
  ~Executable();

  const std::string& name() const;
  const std::vector<Argument>& arguments() const;
  const std::vector<Result>& results() const;
  const Type& type(const Result& result) const;

  /// Bytes of transient memory that a run needs, of scratch that one kernel at a time needs, and of
  /// constants that the executable itself holds.
  int64_t arena_bytes() const;
  int64_t workspace_bytes() const;
  int64_t constant_bytes() const;
  /// Bytes of the device that one kernel at a time takes in the first run, and gives back.
  int64_t first_run_bytes() const;
  /// Bytes that debug mode holds in addition.
  int64_t debug_bytes() const;
  /// The largest sum of buffers alive at once: no plan can have a smaller arena.
  int64_t arena_lower_bound() const;
  /// All buffers of the arena, largest first.
  std::vector<LiveBuffer> buffers() const;
  /// Those alive at that moment, and the step's number and own place.
  std::vector<LiveBuffer> peak() const;
  int peak_step() const;
  std::string peak_place() const;
  /// Arithmetic of one run by op name, in floating-point operations.
  std::vector<std::pair<std::string, double>> flops_by_op() const;
  size_t step_count() const;
  /// By the node that an observer sees.
  std::map<const Node*, StepCost> step_costs() const;

  /// Gives every buffer its address: one pointer an argument, one a result (ignored where donated).
  void bind(std::byte* arena, std::byte* workspace, std::span<std::byte* const> arguments,
            std::span<std::byte* const> results);
  /// The same by name: `arguments` and `results` hold those of this function, and may hold others.
  void bind_by_name(std::byte* arena, std::byte* workspace, const Addresses& arguments,
                    const Addresses& results);
  /// What is gathered in a run, in order. Without a source a rank must have it all.
  const std::vector<Gather>& gathers() const;
  /// Where that comes from, which outlives the runs.
  void gather_from(GatherSource* source);
  /// Takes part in the gathers of a run, into this function's memory, and computes nothing.
  void attend() const;
  /// Runs all steps; from the third run after a bind, and unobserved, as one where the backend
  /// records. Allocates nothing, but in the second.
  /// `listener` hears of the results, at the end where the steps are not run one by one.
  void run(StepObserver* observer = nullptr, ResultListener* listener = nullptr) const;

 private:
  friend Executable compile(Function, const Backend&, const CompileOptions&);
  struct Impl;
  explicit Executable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Lowers an optimised function (`passes/passes.h`) to steps and plans its memory. The backend must
/// outlive it.
Executable compile(Function function, const Backend& backend, const CompileOptions& options = {});

}  // namespace levanter
