// The reference backend: plain loops, one node at a time. The definition of correct.
#include "kernels/shared/host_backend.h"

namespace levanter {

namespace reference {

namespace {

class ReferenceBackend final : public kernels::HostBackend {
 public:
  std::string name() const override { return "reference"; }
  std::string numerics_signature(DType) const override { return "reference"; }
};

}  // namespace

}  // namespace reference

namespace device {
extern const BackendEntry reference_entry;
const BackendEntry reference_entry = {"reference",
                                      "plain loops on one thread: slow, the definition of correct",
                                      [](int) -> std::unique_ptr<Backend> {
                                        return std::make_unique<reference::ReferenceBackend>();
                                      }};
}  // namespace device

}  // namespace levanter
