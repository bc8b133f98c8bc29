// The memory that kernels read and write, and how bytes come to it and from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace levanter {

/// A device's memory, as its backend moves it. The defaults are those of the host's own memory.
///
/// Where is_host() is false, an address of the device is one that only kernels and the calls below
/// may use. Each call comes after everything that was enqueued before it, and may come from any
/// thread.
class Memory {
 public:
  virtual ~Memory() = default;
  /// Whether the program itself may read and write at the device's addresses.
  virtual bool is_host() const { return true; }
  /// To the device; `from` may change when it returns.
  virtual void upload(std::byte* to, std::span<const std::byte> from) const;
  /// From the device; `to` is filled when it returns.
  virtual void download(std::span<std::byte> to, const std::byte* from) const;
  /// From the device to the device; the pieces do not overlap.
  virtual void copy(std::byte* to, const std::byte* from, int64_t bytes) const;
  /// `bytes` times `value`, on the device.
  virtual void fill(std::byte* to, int64_t bytes, std::byte value) const;
  /// Returns when everything enqueued is done.
  /// error  what went wrong in it
  virtual void synchronize() const {}
};

/// The host's own memory.
const Memory& host_memory();

}  // namespace levanter
