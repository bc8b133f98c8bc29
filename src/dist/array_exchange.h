// How ranks exchange what lies in their devices' memory.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/backend.h"
#include "dist/communicator.h"

namespace levanter::dist {

/// One rank's end. The bytes go from device to device where the backend has a network that joins
/// the devices of all ranks, else through the host's memory and the communicator: pure movement,
/// the same bits either way.
class ArrayExchange final {
 public:
  /// Joins the devices where it can be done; both outlive this. Collective.
  ArrayExchange(Communicator& communicator, const Backend& backend);
  ~ArrayExchange();
  ArrayExchange(const ArrayExchange&) = delete;
  ArrayExchange& operator=(const ArrayExchange&) = delete;

  Communicator& communicator() const { return communicator_; }
  const Backend& backend() const { return backend_; }

  /// Communicator::exchange of addresses of the device; what is enqueued there comes before it.
  /// Collective.
  void run(std::span<const Sent> send, std::span<const Received> receive);

  /// After the last one: what joins the devices ends, as it does with the object. All ranks do this
  /// at about the same time.
  void end() { link_.reset(); }

  /// "NCCL 2.28.9, from device to device", or why the bytes go through the host's memory; "" where
  /// the device's memory is the host's, or where there is one rank.
  const std::string& way() const { return way_; }

 private:
  void join(DeviceNetwork& network);
  void run_linked(std::span<const Sent> send, std::span<const Received> receive);
  void run_through_host(std::span<const Sent> send, std::span<const Received> receive);
  /// Until what the link has begun is done.
  void wait();

  Communicator& communicator_;
  const Backend& backend_;
  std::string way_;
  std::unique_ptr<DeviceLink> link_;  ///< null: through the host's memory
  std::vector<std::byte> host_;
};

}  // namespace levanter::dist
