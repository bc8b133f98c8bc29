// A backend that does what another does and counts the memory that it hands out.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "support/evaluate.h"

namespace levanter::testing {

class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  /// Bytes of all buffers made so far.
  int64_t bytes() const { return bytes_; }

  std::string name() const override { return inner_->name(); }
  bool supports(const Node& node, std::span<const Type> inputs) const override {
    return inner_->supports(node, inputs);
  }
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    return inner_->lower(request);
  }
  bool writes_strided(const Node& node) const override { return inner_->writes_strided(node); }
  std::unique_ptr<Buffer> allocate(int64_t bytes) const override {
    auto buffer = inner_->allocate(bytes);
    bytes_ += buffer->bytes();
    return buffer;
  }
  std::string numerics_signature(DType compute) const override {
    return inner_->numerics_signature(compute);
  }
  std::string device_name() const override { return inner_->device_name(); }
  int threads() const override { return inner_->threads(); }
  void add(float* to, const float* from, int64_t n) const override { inner_->add(to, from, n); }

 private:
  std::unique_ptr<Backend> inner_;
  mutable int64_t bytes_ = 0;
};

}  // namespace levanter::testing
