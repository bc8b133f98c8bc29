// The reference backend: plain loops, one node at a time. The definition of correct.
#include "device/backend.h"

#include <span>
#include <string_view>

#include "base/error.h"
#include "base/strings.h"
#include "device/host_buffer.h"
#include "kernels/reference/walk.h"

namespace levanter {

namespace reference {

std::span<const KernelEntry* const> entries();

namespace {

const KernelEntry* find(std::string_view op) {
  for (const KernelEntry* entry : entries())
    if (entry->op->name == op) return entry;
  return nullptr;
}

class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference"; }
  bool supports(const Node& node, std::span<const Type>) const override {
    return node.op->name == std::string_view("input") ||
           node.op->name == std::string_view("constant") || find(node.op->name) != nullptr;
  }
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    const KernelEntry* entry = find(request.node.op->name);
    LEV_CHECK(entry != nullptr, cat("no reference kernel for ", request.node.op->name));
    return entry->make(request);
  }
  std::unique_ptr<Buffer> allocate(int64_t bytes) const override { return allocate_host(bytes, 1); }
  std::string numerics_signature() const override { return "reference"; }
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
