// How ranks exchange what lies in their devices' memory.
#include "dist/array_exchange.h"

#include <map>
#include <optional>

#include "base/limits.h"
#include "base/strings.h"
#include "dist/patience.h"
#include "dist/watch.h"

namespace levanter::dist {

namespace {

/// What a rank knows of joining its device with the others'.
struct Joinable {
  std::string network, device;  ///< their names; "" where the network cannot be used
  std::string problem;          ///< why not
};

Joinable look_at(DeviceNetwork& network) {
  try {
    return {network.name(), network.device(), ""};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDevice) throw;
    return {"", "", error.message()};
  }
}

/// Why the devices of all ranks cannot be joined; "" where they can. The same on every rank.
std::string obstacle(Communicator& communicator, const Joinable& own) {
  const std::vector<std::string> networks = gather_texts(communicator, own.network);
  const std::vector<std::string> problems = gather_texts(communicator, own.problem);
  const std::vector<std::string> devices =
      gather_texts(communicator, cat(host_name(), " ", own.device));
  std::map<std::string, size_t> ranks;  // by device
  for (size_t r = 0; r < networks.size(); ++r) {
    if (!problems[r].empty()) return cat("rank ", r, ": ", problems[r]);
    if (networks[r] != networks[0])
      return cat("rank 0 has ", networks[0], " and rank ", r, " has ", networks[r]);
    const auto [first, fresh] = ranks.emplace(devices[r], r);
    if (!fresh) return cat("ranks ", first->second, " and ", r, " share a device");
  }
  return "";
}

}  // namespace

ArrayExchange::ArrayExchange(Communicator& communicator, const Backend& backend)
    : communicator_(communicator), backend_(backend) {
  if (backend.is_host() || communicator.size() == 1) return;
  way_ = "the host's memory";
  if (DeviceNetwork* const network = backend.network()) join(*network);
}

ArrayExchange::~ArrayExchange() = default;

void ArrayExchange::join(DeviceNetwork& network) {
  const Joinable own = look_at(network);
  const std::string reason = obstacle(communicator_, own);
  if (!reason.empty()) {
    way_ += cat(" (", reason, ")");
    return;
  }
  const bool invites = communicator_.rank() == 0;
  const std::string invitation =
      broadcast_text(communicator_, invites ? network.invitation() : std::string());
  link_ = network.join(invitation, communicator_.rank(), communicator_.size());
  wait();
  way_ = cat(own.network, ", from device to device");
}

void ArrayExchange::run(std::span<const Sent> send, std::span<const Received> receive) {
  if (backend_.is_host()) return communicator_.exchange(send, receive);
  if (link_) return run_linked(send, receive);
  run_through_host(send, receive);
}

void ArrayExchange::run_linked(std::span<const Sent> send, std::span<const Received> receive) {
  const auto me = static_cast<size_t>(communicator_.rank());
  LEV_CHECK(send[me].bytes == receive[me].bytes, "a rank's own sizes differ");
  if (send[me].bytes > 0)
    backend_.copy(receive[me].data, send[me].data, static_cast<int64_t>(send[me].bytes));
  // Own work is no wait for others, and the communicator knows by name who is late with theirs.
  backend_.synchronize();
  barrier(communicator_);
  link_->exchange(send, receive);
  wait();
}

void ArrayExchange::wait() {
  Watch* const watch = communicator_.watch();
  std::optional<Watch::Wait> waited;
  if (watch) waited.emplace(*watch);
  try {
    for (Patience patience; !link_->is_done(); patience.wait()) {
      communicator_.heed();
      if (waited && waited->is_too_long(Watch::kNobody) && waited->speaks({}))
        throw watch->stuck(waited->seconds());
    }
  } catch (...) {
    link_.reset();  // else whatever waits for the device next would wait without end
    throw;
  }
}

void ArrayExchange::run_through_host(std::span<const Sent> send,
                                     std::span<const Received> receive) {
  size_t total = 0;
  for (const Sent& sent : send) total += sent.bytes;
  for (const Received& received : receive) total += received.bytes;
  host_.resize(total);
  std::byte* at = host_.data();
  std::vector<Sent> host_send(send.begin(), send.end());
  std::vector<Received> host_receive(receive.begin(), receive.end());
  for (Sent& sent : host_send) {
    if (sent.bytes > 0) backend_.download({at, sent.bytes}, sent.data);
    sent.data = at;
    at += sent.bytes;
  }
  for (Received& received : host_receive) {
    received.data = at;
    at += received.bytes;
  }
  communicator_.exchange(host_send, host_receive);
  for (size_t i = 0; i < receive.size(); ++i)
    if (receive[i].bytes > 0)
      backend_.upload(receive[i].data, {host_receive[i].data, receive[i].bytes});
}

}  // namespace levanter::dist
