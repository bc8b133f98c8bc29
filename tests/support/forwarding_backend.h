// The reference backend behind a face that a test changes in one place.
#pragma once

#include <memory>
#include <string>

#include "support/evaluate.h"

namespace levanter::testing {

class ForwardingBackend : public Backend {
 public:
  std::string name() const override { return "forwarding"; }
  bool supports(const Node& node, std::span<const Type> inputs) const override {
    return reference_->supports(node, inputs);
  }
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    return reference_->lower(request);
  }
  std::unique_ptr<Buffer> allocate(int64_t bytes) const override {
    return reference_->allocate(bytes);
  }
  std::string numerics_signature(DType) const override { return "forwarding"; }

 private:
  std::unique_ptr<Backend> reference_ = make_backend("reference");
};

/// The reference kernels that can write outputs with gaps say so.
class StridedBackend final : public ForwardingBackend {
 public:
  bool writes_strided(const Node& node) const override {
    for (const char* name : {"map", "dot", "cast", "copy", "gather", "reduce", "concat"})
      if (node.op->name == std::string(name)) return true;
    return false;
  }
};

}  // namespace levanter::testing
