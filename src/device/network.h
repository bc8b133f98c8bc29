// How the devices of a run's ranks exchange bytes with each other, with no host's memory between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace levanter {

/// What a rank sends to another one, and where it takes what comes.
struct Sent {
  const std::byte* data = nullptr;
  size_t bytes = 0;
};
struct Received {
  std::byte* data = nullptr;
  size_t bytes = 0;
};

/// One rank's end of what joins the devices of all ranks. It ends when the others do or, where they
/// do not, within seconds, and at once where an error ends it; what is under way is broken off.
class DeviceLink {
 public:
  virtual ~DeviceLink() = default;
  /// Begins to send send[d] to each other rank d and to fill receive[s] from each other rank s,
  /// after all that is enqueued on the device: all addresses are the device's. Sizes agree
  /// pairwise; what a rank has for itself is left alone. What was begun before must be done.
  virtual void exchange(std::span<const Sent> send, std::span<const Received> receive) = 0;
  /// Whether what was begun last is done; first of all that is the joining itself.
  /// error  kDevice with what went wrong, after which the link is of no use
  virtual bool is_done() = 0;
};

/// What can join the devices of one kind. It and its backend outlive the links.
class DeviceNetwork {
 public:
  virtual ~DeviceNetwork() = default;
  /// "NCCL 2.28.9"
  /// error  kDevice where it cannot be used here, and why
  virtual std::string name() = 0;
  /// The backend's own device, by its name in Backend::devices().
  virtual std::string device() = 0;
  /// What all ranks join by, made by one of them.
  virtual std::string invitation() = 0;
  /// Begins to join; every rank does so.
  virtual std::unique_ptr<DeviceLink> join(std::string_view invitation, int64_t rank,
                                           int64_t ranks) = 0;
  /// Bytes of each device that a link takes besides what is exchanged, estimated.
  virtual int64_t link_bytes(int64_t ranks) const = 0;
};

}  // namespace levanter
