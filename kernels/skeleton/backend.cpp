// A backend without kernels of its own: composites decompose, primitives are the reference's.
#include "kernels/shared/host_backend.h"

namespace levanter {

namespace {

class SkeletonBackend final : public kernels::HostBackend {
 public:
  std::string name() const override { return "skeleton"; }
  std::string numerics_signature() const override { return "skeleton"; }
};

}  // namespace

namespace device {
extern const BackendEntry skeleton_entry;
const BackendEntry skeleton_entry = {
    "skeleton", "what a backend begins as",
    [](int) -> std::unique_ptr<Backend> { return std::make_unique<SkeletonBackend>(); }};
}  // namespace device

}  // namespace levanter
