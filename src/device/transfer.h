// Arrays that the host and kernels share: one memory where the device's is the host's, else two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/backend.h"

namespace levanter {

/// A piece of the device's memory and its copy in the host's; the two are one where the device's
/// memory is the host's. Ranges are in bytes from the beginning.
class Mirror final {
 public:
  Mirror() = default;
  /// `device`: `bytes` of `memory`. Both outlive this.
  Mirror(const Memory& memory, std::byte* device, int64_t bytes)
      : memory_(&memory), device_(device) {
    if (!memory.is_host()) own_.resize(static_cast<size_t>(bytes));
  }

  std::byte* device() const { return device_; }
  std::byte* host() { return memory_->is_host() ? device_ : own_.data(); }

  /// What the host has written goes to the device.
  void upload(int64_t begin, int64_t end) {
    if (memory_->is_host() || begin == end) return;
    memory_->upload(device_ + begin, {own_.data() + begin, static_cast<size_t>(end - begin)});
  }
  /// What kernels have written comes to the host.
  void download(int64_t begin, int64_t end) {
    if (memory_->is_host() || begin == end) return;
    memory_->download({own_.data() + begin, static_cast<size_t>(end - begin)}, device_ + begin);
  }

 private:
  const Memory* memory_ = nullptr;
  std::byte* device_ = nullptr;
  std::vector<std::byte> own_;
};

/// An array that the host writes and kernels read, or the other way round.
template <class T>
class SharedArray final {
 public:
  SharedArray() = default;
  SharedArray(const Backend& backend, size_t count)
      : count_(count),
        bytes_(static_cast<int64_t>(count * sizeof(T))),
        buffer_(backend.allocate(bytes_)),
        mirror_(backend, buffer_->data(), bytes_) {}

  std::byte* device() const { return mirror_.device(); }
  std::span<T> host() { return {reinterpret_cast<T*>(mirror_.host()), count_}; }
  void upload() { mirror_.upload(0, bytes_); }
  void download() { mirror_.download(0, bytes_); }

 private:
  size_t count_ = 0;
  int64_t bytes_ = 0;
  std::unique_ptr<Buffer> buffer_;
  Mirror mirror_;
};

/// Memory to write to in the place of a device's: `write` the host's bytes, then `done`.
class HostWrite final {
 public:
  HostWrite(const Memory& memory, std::byte* to, size_t bytes)
      : memory_(memory), to_(to), own_(memory.is_host() ? 0 : bytes), bytes_(bytes) {}

  std::span<std::byte> bytes() { return {memory_.is_host() ? to_ : own_.data(), bytes_}; }
  void done() {
    if (!memory_.is_host()) memory_.upload(to_, own_);
  }

 private:
  const Memory& memory_;
  std::byte* to_;
  std::vector<std::byte> own_;
  size_t bytes_;
};

/// The bytes at a device's address, in `room` where the host cannot read them in place.
inline std::span<const std::byte> read_bytes(const Memory& memory, const std::byte* from,
                                             size_t bytes, std::vector<std::byte>& room) {
  if (memory.is_host()) return {from, bytes};
  room.resize(bytes);
  memory.download(room, from);
  return room;
}

}  // namespace levanter
