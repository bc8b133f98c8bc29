// Opens NCCL and joins cards by it: grouped sends and receives on the backend's own stream.
//
// Every call returns at once (a communicator that does not block), so that a rank can tell that
// another is gone, or give up, whatever the library is at.
#include "kernels/cuda/nccl.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/network.h"

namespace levanter::cuda {

namespace {

constexpr const char* kHint =
    "install NCCL 2 and add its folder to LD_LIBRARY_PATH; without it bytes between ranks go "
    "through the host's memory";

/// How long a link that ends waits for the other ranks to end theirs.
constexpr std::chrono::seconds kFarewell{5};

// What NCCL takes of a card for sends and receives, by what its source allots: for each channel to
// a peer about 10 MiB of buffers (4 MiB of its simple protocol, 5 and a half of the two for short
// messages), up to 16 channels to a peer on the same machine and 2 over a network, and 64 MiB
// besides. Never measured.
constexpr int64_t kOwnBytes = int64_t{64} << 20;
constexpr int64_t kNearPeerBytes = int64_t{160} << 20;
constexpr int64_t kFarPeerBytes = int64_t{20} << 20;
constexpr int64_t kNearPeers = 7;  // of a machine with eight cards

bool is_switched_off() {
  const char* value = std::getenv("LEVANTER_NCCL");
  return value && std::string_view(value) == "0";
}

/// Throws unless the result is success, or says that the call goes on in the background.
void require(const Nccl& nccl, ncclResult_t result, ncclComm_t comm, std::string_view what) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* const words = nccl.get_last_error(comm);
  throw Error(ErrorKind::kDevice,
              cat("cannot ", what, ": NCCL says \"", nccl.get_error_string(result), "\"",
                  words && *words ? ", " : "", words ? words : ""))
      .hint(
          "NCCL_DEBUG=INFO says more; LEVANTER_NCCL=0 does without NCCL, through the host's "
          "memory");
}

/// Sends and receives that begin together: none waits for another of the same group.
class Group final {
 public:
  explicit Group(const Nccl& nccl) : nccl_(nccl) {
    require(nccl_, nccl_.group_start(), nullptr, "begin an exchange");
  }
  ~Group() {
    if (!ended_) nccl_.group_end();  // else the thread's later calls would belong to it
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ncclResult_t end() {
    ended_ = true;
    return nccl_.group_end();
  }

 private:
  const Nccl& nccl_;
  bool ended_ = false;
};

class NcclLink final : public DeviceLink {
 public:
  NcclLink(const Nccl& nccl, const Device& device, const ncclUniqueId& id, int rank, int ranks)
      : nccl_(nccl), device_(device), rank_(rank) {
    device_.enter();
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    try {
      device_.require(device_.driver().event_create(&sent_, CU_EVENT_DISABLE_TIMING),
                      "make an event");
      require(nccl_, nccl_.comm_init(&comm_, ranks, id, rank, &config), nullptr, "join the cards");
    } catch (...) {
      give_up();
      throw;
    }
  }

  ~NcclLink() override {
    device_.driver().context_set_current(device_.context());
    // A rank that ends by an error has still to tell the others, and does not wait for them.
    const bool fails = std::uncaught_exceptions() > exceptions_;
    if (state_ == State::kDone && !fails && has_left()) comm_ = nullptr;
    give_up();
  }
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;

  void exchange(std::span<const Sent> send, std::span<const Received> receive) override {
    LEV_CHECK(state_ == State::kDone, "an exchange begins before the last is done");
    device_.enter();
    state_ = State::kBroken;  // until all of it is under way
    const auto stream = reinterpret_cast<cudaStream_t>(device_.stream());
    Group group(nccl_);
    for (size_t r = 0; r < send.size(); ++r) {
      const auto peer = static_cast<int>(r);
      if (peer == rank_) continue;
      if (send[r].bytes > 0)
        check(nccl_.send(send[r].data, send[r].bytes, ncclUint8, peer, comm_, stream), "send");
      if (receive[r].bytes > 0)
        check(nccl_.receive(receive[r].data, receive[r].bytes, ncclUint8, peer, comm_, stream),
              "receive");
    }
    check(group.end(), "begin an exchange");
    state_ = State::kBeginning;
  }

  bool is_done() override {
    if (state_ == State::kDone) return true;
    device_.enter();
    ncclResult_t now = ncclSuccess;
    check(nccl_.comm_get_async_error(comm_, &now), "ask how an exchange goes");
    check(now, state_ == State::kJoining ? "join the cards" : "exchange between cards");
    if (now == ncclInProgress) return false;
    if (state_ == State::kBeginning) {  // only now all of it is on the stream
      device_.require(device_.driver().event_record(sent_, device_.stream()), "record an event");
      state_ = State::kUnderWay;
    }
    if (state_ == State::kUnderWay) {
      const CUresult result = device_.driver().event_query(sent_);
      if (result == CUDA_ERROR_NOT_READY) return false;
      device_.require(result, "exchange between cards");
    }
    state_ = State::kDone;
    return true;
  }

 private:
  enum class State { kJoining, kDone, kBeginning, kUnderWay, kBroken };

  void check(ncclResult_t result, std::string_view what) {
    if (result != ncclSuccess && result != ncclInProgress) state_ = State::kBroken;
    require(nccl_, result, comm_, what);
  }

  /// Whether the communicator could be ended together with the other ranks', in time.
  bool has_left() {
    ncclResult_t now = nccl_.comm_finalize(comm_);
    const auto last = std::chrono::steady_clock::now() + kFarewell;
    while (now == ncclInProgress && std::chrono::steady_clock::now() < last) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      if (nccl_.comm_get_async_error(comm_, &now) != ncclSuccess) return false;
    }
    return now == ncclSuccess && nccl_.comm_destroy(comm_) == ncclSuccess;
  }

  /// Breaks off whatever is under way.
  void give_up() {
    if (comm_) nccl_.comm_abort(comm_);
    if (sent_) device_.driver().event_destroy(sent_);
  }

  const Nccl& nccl_;
  const Device& device_;
  const int rank_;
  const int exceptions_ = std::uncaught_exceptions();  ///< under way when it was made
  ncclComm_t comm_ = nullptr;
  CUevent sent_ = nullptr;
  State state_ = State::kJoining;
};

class NcclNetwork final : public DeviceNetwork {
 public:
  NcclNetwork(Context& context, Nccl (*open)()) : context_(context), open_(open) {}

  std::string name() override {
    int version = 0;
    require(functions(), functions().get_version(&version), nullptr, "ask for its version");
    return cat("NCCL ", version / 10000, ".", version / 100 % 100, ".", version % 100);
  }

  std::string device() override { return context_.device().identity(); }

  std::string invitation() override {
    context_.device().enter();
    ncclUniqueId id;
    require(functions(), functions().get_unique_id(&id), nullptr, "make an invitation");
    return {id.internal, sizeof id.internal};
  }

  std::unique_ptr<DeviceLink> join(std::string_view invitation, int64_t rank,
                                   int64_t ranks) override {
    ncclUniqueId id;
    LEV_CHECK(invitation.size() == sizeof id.internal, "an invitation that is not NCCL's");
    std::memcpy(id.internal, invitation.data(), sizeof id.internal);
    return std::make_unique<NcclLink>(functions(), context_.device(), id, static_cast<int>(rank),
                                      static_cast<int>(ranks));
  }

  int64_t link_bytes(int64_t ranks) const override {
    if (ranks == 1 || is_switched_off()) return 0;
    const int64_t peers = ranks - 1, near = std::min(peers, kNearPeers);
    return kOwnBytes + near * kNearPeerBytes + (peers - near) * kFarPeerBytes;
  }

 private:
  const Nccl& functions() {
    if (is_switched_off()) throw Error(ErrorKind::kDevice, "LEVANTER_NCCL=0");
    if (!open_) throw Error(ErrorKind::kDevice, "there is no NCCL");
    const std::lock_guard lock(mutex_);
    if (!functions_) functions_ = open_();
    return *functions_;
  }

  Context& context_;
  Nccl (*open_)();
  std::mutex mutex_;
  std::optional<Nccl> functions_;
};

Nccl open_nccl() {
  static constexpr const char* kFiles[] = {"libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so"};
  const Library library{"NCCL to go from card to card", kFiles, kHint};
  const Functions functions(library);
  Nccl n;
  functions.find(n.get_version, "ncclGetVersion");
  functions.find(n.get_error_string, "ncclGetErrorString");
  functions.find(n.get_last_error, "ncclGetLastError");
  functions.find(n.get_unique_id, "ncclGetUniqueId");
  functions.find(n.comm_init, "ncclCommInitRankConfig");
  functions.find(n.comm_get_async_error, "ncclCommGetAsyncError");
  functions.find(n.comm_finalize, "ncclCommFinalize");
  functions.find(n.comm_destroy, "ncclCommDestroy");
  functions.find(n.comm_abort, "ncclCommAbort");
  functions.find(n.group_start, "ncclGroupStart");
  functions.find(n.group_end, "ncclGroupEnd");
  functions.find(n.send, "ncclSend");
  functions.find(n.receive, "ncclRecv");
  return n;
}

}  // namespace

Nccl (*const kOpenNccl)() = open_nccl;

std::unique_ptr<DeviceNetwork> make_network(Context& context, Nccl (*open)()) {
  return std::make_unique<NcclNetwork>(context, open);
}

}  // namespace levanter::cuda
