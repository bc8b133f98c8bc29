// Stops an eager run at the first node that makes a NaN.
#pragma once

#include "runtime/executable.h"

namespace levanter::train {

/// Throws an Error of kind kGuard naming the op, the module path and the source line of the first
/// node with a NaN among its results.
class NanGuard final : public StepObserver {
 public:
  void before(const Node&) override {}
  void after(const Node& node, const std::string& where, void* const* outputs) override;
};

}  // namespace levanter::train
