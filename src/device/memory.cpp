// The host's own memory: addresses are addresses.
#include "device/memory.h"

#include <cstring>

namespace levanter {

void Memory::upload(std::byte* to, std::span<const std::byte> from) const {
  std::memcpy(to, from.data(), from.size());
}

void Memory::download(std::span<std::byte> to, const std::byte* from) const {
  std::memcpy(to.data(), from, to.size());
}

void Memory::copy(std::byte* to, const std::byte* from, int64_t bytes) const {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

void Memory::fill(std::byte* to, int64_t bytes, std::byte value) const {
  std::memset(to, static_cast<int>(value), static_cast<size_t>(bytes));
}

const Memory& host_memory() {
  static constinit const Memory memory;
  return memory;
}

}  // namespace levanter
