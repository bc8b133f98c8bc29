// What a backend begins as: memory of the host, and the reference's kernel for every primitive.
#pragma once

#include "device/backend.h"

namespace levanter::kernels {

/// A backend that derives from this says its name and the signature of its numerics, and trains;
/// what else it overrides are the kernels of its own.
class HostBackend : public Backend {
 public:
  bool supports(const Node& node, std::span<const Type> inputs) const override;
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override;
  std::unique_ptr<Buffer> allocate(int64_t bytes) const override;
};

}  // namespace levanter::kernels
