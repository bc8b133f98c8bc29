// From a function's nodes to steps over slots of memory, before the slots have addresses.
#pragma once

#include <memory>
#include <vector>

#include "device/backend.h"
#include "ops/function.h"

namespace levanter {

/// A piece of memory that one or more values share.
struct Slot {
  enum class Kind : uint8_t { kArena, kArgument, kResult, kConstant };
  Kind kind = Kind::kArena;
  int index = 0;  ///< of the argument, the result or the constant
  int64_t bytes = 0;
  int first = -1, last = -1;  ///< steps of the first write and the last use
  NodeId maker = 0;
  int moved_to = -1;  ///< the slot that this one was merged into
};

/// Where a value is: a view, in elements, of a slot.
struct Place {
  int slot = -1;
  ArrayInfo info;
};

struct Step {
  NodeId node = 0;
  std::unique_ptr<Kernel> kernel;
  std::vector<Place> inputs, outputs;
};

struct Lowered {
  std::vector<Slot> slots;
  std::vector<Step> steps;
  std::vector<double> constants;
  std::vector<DType> constant_types;
};

/// Assigns slots (views share, outputs overwrite dying inputs where the kernel allows it, parts of
/// a concatenation are written in place) and makes the kernels. May append copies to the graph.
/// `small_m`: see CompileOptions.
Lowered lower(Function& function, const Backend& backend, bool small_m = false);

}  // namespace levanter
