// What a backend begins as: memory of the host, and the reference's kernel for every primitive.
#include "kernels/shared/host_backend.h"

#include "base/error.h"
#include "base/strings.h"
#include "device/host_buffer.h"
#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter {

namespace reference {
std::span<const KernelEntry* const> entries();
}

namespace kernels {

namespace {

const reference::KernelEntry* find(const Op* op) {
  for (const reference::KernelEntry* entry : reference::entries())
    if (entry->op == op) return entry;
  return nullptr;
}

}  // namespace

bool HostBackend::supports(const Node& node, std::span<const Type>) const {
  return is(node, ops::input_entry) || is(node, ops::constant_entry) || find(node.op) != nullptr;
}

std::unique_ptr<Kernel> HostBackend::lower(const KernelRequest& request) const {
  const reference::KernelEntry* entry = find(request.node.op);
  LEV_CHECK(entry != nullptr, cat(name(), " has no kernel for ", request.node.op->name));
  return entry->make(request);
}

std::unique_ptr<Buffer> HostBackend::allocate(int64_t bytes) const {
  return allocate_host(bytes, threads());
}

}  // namespace kernels

}  // namespace levanter
