// A run whose ranks are processes that share no memory, joined by sockets.
#include "support/rank_processes.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/limits.h"
#include "base/stop.h"
#include "base/strings.h"
#include "dist/watch.h"
#include "train/run.h"

namespace levanter::testing {

namespace {

using dist::Received;
using dist::Sent;

constexpr const char* kConfig = "LEVANTER_TEST_CONFIG";
constexpr const char* kSockets = "LEVANTER_TEST_SOCKETS";  // one a rank, "-" for the own
constexpr const char* kFaultAt = "LEVANTER_TEST_FAULT_AT";
constexpr unsigned kLongest = 120;  // seconds of a rank's life: one that hangs fails the test

constexpr int kLook = 50;  // milliseconds between two looks at who is late

/// A message is its length and so many bytes; a length with this bit is an ErrorKind, and the last.
constexpr uint64_t kAbandoned = uint64_t{1} << 63;

/// What one exchange moves to and from another rank.
struct Transfer {
  int64_t rank;
  int socket;
  Sent send;
  Received receive;
  uint64_t length_out, length_in = 0;
  size_t sent = 0, received = 0;  ///< bytes, those of the lengths among them

  static constexpr size_t kHead = sizeof(uint64_t);
  bool has_sent() const { return sent == kHead + send.bytes; }
  bool has_received() const { return received == kHead + receive.bytes; }

  void go_on_sending() {
    const bool head = sent < kHead;
    const std::byte* from =
        head ? reinterpret_cast<const std::byte*>(&length_out) + sent : send.data + (sent - kHead);
    const size_t size = head ? kHead - sent : kHead + send.bytes - sent;
    const ssize_t done = ::send(socket, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done > 0) sent += static_cast<size_t>(done);
    // What a rank said before it went is still to be read.
    if (done < 0 && errno != EAGAIN && errno != EINTR) sent = kHead + send.bytes;
  }

  void go_on_receiving() {
    const bool head = received < kHead;
    std::byte* to = head ? reinterpret_cast<std::byte*>(&length_in) + received
                         : receive.data + (received - kHead);
    const size_t size = head ? kHead - received : kHead + receive.bytes - received;
    const ssize_t done = ::recv(socket, to, size, MSG_DONTWAIT);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (done <= 0) throw Error(ErrorKind::kDevice, cat("rank ", rank, " of this run is gone"));
    received += static_cast<size_t>(done);
    if (!head || received < kHead) return;
    if (length_in & kAbandoned)
      throw dist::Abandoned(static_cast<ErrorKind>(length_in & ~kAbandoned));
    LEV_CHECK(length_in == receive.bytes, "two ranks' sizes differ");
  }
};

class SocketRank final : public dist::Communicator {
 public:
  SocketRank(std::vector<int> sockets, int64_t fault_at)
      : sockets_(std::move(sockets)), fault_at_(fault_at) {
    for (size_t r = 0; r < sockets_.size(); ++r)
      if (sockets_[r] < 0) rank_ = static_cast<int64_t>(r);
    watch_.emplace(rank_);
  }
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return std::ssize(sockets_); }

  void exchange(std::span<const Sent> send, std::span<const Received> receive) override {
    if (exchanges_++ == fault_at_) throw Error(ErrorKind::kIo, "a fault made up by the test");
    std::vector<Transfer> transfers;
    for (size_t r = 0; r < sockets_.size(); ++r) {
      if (sockets_[r] >= 0)
        transfers.push_back(
            {static_cast<int64_t>(r), sockets_[r], send[r], receive[r], send[r].bytes});
      else if (send[r].bytes > 0)
        std::memmove(receive[r].data, send[r].data, send[r].bytes);
    }
    dist::Watch::Wait wait(*watch_);
    while (move_some(transfers)) {
      const auto late = std::find_if(transfers.begin(), transfers.end(), is_under_way);
      if (late != transfers.end() && wait.is_too_long(late->rank)) miss(transfers, wait);
    }
  }
  dist::Watch* watch() override { return &*watch_; }

  void abandon(ErrorKind kind) override {
    const uint64_t last = kAbandoned | static_cast<uint64_t>(kind);
    for (const int socket : sockets_)
      if (socket >= 0 && ::send(socket, &last, sizeof last, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        errno = 0;  // it is gone itself
  }

 private:
  static bool is_under_way(const Transfer& t) { return !t.has_sent() || !t.has_received(); }

  /// Throws where it is time to go without those that the exchange waits for.
  void miss(const std::vector<Transfer>& transfers, const dist::Watch::Wait& wait) {
    std::vector<int64_t> late;
    for (const Transfer& t : transfers) {
      uint64_t last = 0;  // of a rank that has taken part and then left
      if (is_under_way(t))
        late.push_back(t.rank);
      else if (::recv(t.socket, &last, sizeof last, MSG_PEEK | MSG_DONTWAIT) == sizeof last &&
               (last & kAbandoned))
        throw dist::Abandoned(static_cast<ErrorKind>(last & ~kAbandoned));
    }
    if (wait.speaks(late)) throw watch_->late(late, wait.seconds());
  }

  /// Waits until something can be moved, and moves it; false when all is done.
  static bool move_some(std::vector<Transfer>& transfers) {
    std::vector<pollfd> waits;
    bool all = true;
    for (const Transfer& t : transfers) {
      const int in = t.has_received() ? 0 : POLLIN, out = t.has_sent() ? 0 : POLLOUT;
      waits.push_back({in || out ? t.socket : -1, static_cast<short>(in | out), 0});
      all = all && in == 0 && out == 0;
    }
    if (all) return false;
    ::poll(waits.data(), waits.size(), kLook);
    for (size_t i = 0; i < waits.size(); ++i) {
      Transfer& t = transfers[i];
      if ((waits[i].revents & (POLLOUT | POLLERR | POLLHUP)) && !t.has_sent()) t.go_on_sending();
      if ((waits[i].revents & (POLLIN | POLLERR | POLLHUP)) && !t.has_received())
        t.go_on_receiving();
    }
    return true;
  }

  std::vector<int> sockets_;
  int64_t fault_at_, rank_ = 0, exchanges_ = 0;
  std::optional<dist::Watch> watch_;
};

void launch(int64_t ranks, const dist::RankBody& body) {
  std::vector<int> sockets;
  for (const std::string& word : split(std::getenv(kSockets), ','))
    sockets.push_back(word == "-" ? -1 : std::stoi(word));
  LEV_CHECK(std::ssize(sockets) == ranks, "every rank of the test has its sockets");
  SocketRank end(std::move(sockets), std::stoll(std::getenv(kFaultAt)));
  body(end);
}

constexpr dist::CommunicatorEntry kSocketsEntry = {"sockets", "ranks as processes of a test",
                                                   launch};

}  // namespace

RankProcesses::RankProcesses(const std::vector<RankStart>& starts) {
  const size_t ranks = starts.size();
  std::vector<std::vector<int>> sockets(ranks, std::vector<int>(ranks, -1));
  for (size_t a = 0; a < ranks; ++a)
    for (size_t b = a + 1; b < ranks; ++b) {
      std::array<int, 2> pair{};
      LEV_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0,
                "a test can join two processes");
      sockets[a][b] = pair[0];
      sockets[b][a] = pair[1];
    }
  for (size_t r = 0; r < ranks; ++r) {
    Surroundings surroundings{.input = starts[r].input,
                              .environment = starts[r].environment,
                              .program = executable_path()};
    std::vector<std::string> words;
    for (const int socket : sockets[r]) {
      words.push_back(socket < 0 ? "-" : cat(socket));
      if (socket >= 0) surroundings.descriptors.push_back(socket);
    }
    for (std::string line :
         {cat(kSockets, "=", join(words, ",")), cat(kConfig, "=", starts[r].config),
          cat(kFaultAt, "=", starts[r].fault_at)})
      surroundings.environment.push_back(std::move(line));
    processes_.push_back(std::make_unique<Program>(
        std::vector<std::string>{"one rank of a run of processes"}, surroundings));
  }
  for (const std::vector<int>& row : sockets)  // so that the end of a process is seen
    for (const int socket : row)
      if (socket >= 0) ::close(socket);
}

std::vector<Ended> RankProcesses::wait() {
  std::vector<Ended> ends;
  for (const auto& process : processes_) ends.push_back(process->wait());
  return ends;
}

bool is_rank_process() { return std::getenv(kSockets) != nullptr; }

int run_as_rank() {
  ::alarm(kLongest);
  try {
    watch_for_stops();
    const TrainConfig config = load_train_config(std::getenv(kConfig));
    const train::Outcome outcome = train::train(config, {.communicator = &kSocketsEntry});
    return outcome == train::Outcome::kStopped ? static_cast<int>(ErrorKind::kSignal) : 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.kind());
  } catch (const dist::Abandoned& elsewhere) {
    return static_cast<int>(elsewhere.kind());
  }
}

}  // namespace levanter::testing
