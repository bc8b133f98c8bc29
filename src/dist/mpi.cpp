// Ranks as processes that mpirun or srun has started, which exchange bytes through MPI.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/limits.h"
#include "base/stop.h"
#include "base/strings.h"
#include "dist/communicator.h"
#include "dist/launcher.h"
#include "dist/mpi_library.h"
#include "dist/patience.h"
#include "dist/watch.h"

namespace levanter::dist {

namespace {

using Clock = std::chrono::steady_clock;

enum Tag : int { kBytes = 0, kEnd = 1 };

/// One message of MPI counts its bytes in an int.
constexpr size_t kLongestMessage = size_t{1} << 30;

/// How long a rank whose exchange has failed waits for what of it is under way.
constexpr std::chrono::seconds kLetGo{1};
/// How long a rank that ends waits for the others to end too; after an error, of which the others
/// are told at once, all are then ended: one of them may stand still.
constexpr std::chrono::minutes kFarewell{2};
constexpr std::chrono::seconds kFarewellOfError{20};
/// How long one that has missed another leaves the others to end, before all are ended.
constexpr std::chrono::seconds kLastWords{1};

const MpiLibrary& open_library() {
  std::string path = join_path(parent_path(executable_path()), kMpiFile);
  if (!path_exists(path))
    throw Error(ErrorKind::kDevice, "levanter was built without MPI")
        .at(path)
        .hint("install libopenmpi-dev, or the cluster's own MPI with its mpi.pc, and build again");
  // Parts of MPI that it opens itself look for its symbols among all of the program's.
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!handle)
    throw Error(ErrorKind::kDevice, cat("MPI cannot be opened: ", ::dlerror()))
        .at(std::move(path))
        .hint("load the MPI that levanter was built with, or build it again with this one");
  const auto get = reinterpret_cast<const MpiLibrary* (*)()>(::dlsym(handle, kMpiSymbol));
  if (!get || get()->version != MpiLibrary::kVersion)
    throw Error(ErrorKind::kDevice, "the part that calls MPI is of another build of levanter")
        .at(std::move(path))
        .hint("build both again");
  return *get();
}

class MpiRank final : public Communicator {
 public:
  explicit MpiRank(const MpiLibrary& library) : library_(library) {
    int rank = 0, ranks = 0;
    check(library_.start(&rank, &ranks));
    rank_ = rank;
    ranks_ = ranks;
    watch_.emplace(rank);
    ends_.resize(static_cast<size_t>(ranks));
    for (int r = 0; r < ranks; ++r)
      if (r != rank)
        check(library_.receive(&end_of(r).word, sizeof(int), r, kEnd, &end_of(r).request));
  }

  int64_t rank() const override { return rank_; }
  int64_t size() const override { return ranks_; }

  void exchange(std::span<const Sent> send, std::span<const Received> receive) override {
    const auto me = static_cast<size_t>(rank_);
    LEV_CHECK(send[me].bytes == receive[me].bytes, "a rank's own sizes differ");
    if (send[me].bytes > 0) std::memmove(receive[me].data, send[me].data, send[me].bytes);
    try {
      start_transfers(send, receive);
      Watch::Wait wait(*watch_);
      for (Patience patience; !all_done(); patience.wait()) {
        heed_those_awaited();
        if (!transfers_.empty() && wait.is_too_long(transfers_.front().rank)) miss(wait);
      }
    } catch (...) {
      let_go();
      throw;
    }
  }

  void abandon(ErrorKind kind) override {
    if (last_word_ != 0) return;
    last_word_ = static_cast<int>(kind) | (has_missed_ ? kMissed : 0);
    // Nobody waits for these: a rank that is gone does not take them.
    for (int r = 0; r < ranks_; ++r)
      if (r != rank_) library_.send(&last_word_, sizeof last_word_, r, kEnd, send_to(r));
  }

  void heed() override {
    test_ends();
    leave_if_told();
  }

  Watch* watch() override { return &*watch_; }

  /// Waits until every rank has come here, for MPI's launcher ends all others as soon as one is
  /// gone, and ends MPI. One that has missed another ends all at once, for that one may never
  /// come.
  void finish() noexcept {
    try {
      // The launcher's signal to those that are left has nothing to stop any more.
      static const DeferredStop deferred;
      if (!has_missed_) return leave_together();
      std::this_thread::sleep_for(kLastWords);
      library_.end_all(last_word_ & ~kMissed);
    } catch (const std::exception&) {
      // The exit code says how this rank has ended.
    }
  }

 private:
  struct Transfer {
    int rank;
    bool receives;
    void* request;
  };

  void check(int code) const {
    if (code == 0) return;
    std::array<char, 256> words{};
    library_.explain(code, words.data(), words.size());
    throw Error(ErrorKind::kDevice, cat("MPI failed on rank ", rank_, ": ", words.data()));
  }

  void start_transfers(std::span<const Sent> send, std::span<const Received> receive) {
    for (int r = 0; r < ranks_; ++r) {
      const auto [data, bytes] = receive[static_cast<size_t>(r)];
      for (size_t at = 0; r != rank_ && at < bytes; at += kLongestMessage)
        check(library_.receive(data + at, std::min(bytes - at, kLongestMessage), r, kBytes,
                               receive_from(r)));
    }
    // Each rank begins with the one behind it, so that no rank gets all messages at once.
    for (int i = 1; i < ranks_; ++i) {
      const int r = (rank_ + i) % ranks_;
      const auto [data, bytes] = send[static_cast<size_t>(r)];
      for (size_t at = 0; at < bytes; at += kLongestMessage)
        check(
            library_.send(data + at, std::min(bytes - at, kLongestMessage), r, kBytes, send_to(r)));
    }
  }

  void** receive_from(int rank) {
    return &transfers_.emplace_back(Transfer{rank, true, nullptr}).request;
  }
  void** send_to(int rank) {
    return &transfers_.emplace_back(Transfer{rank, false, nullptr}).request;
  }

  bool all_done() {
    for (size_t i = transfers_.size(); i-- > 0;) {
      int done = 0;
      check(library_.test(&transfers_[i].request, &done));
      if (done) transfers_.erase(transfers_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return transfers_.empty();
  }

  void leave_together() {
    void* met = nullptr;
    int done = 0;
    if (library_.meet(&met) != 0) return;
    const bool failed = last_word_ != 0;
    const Clock::time_point last = Clock::now() + (failed ? kFarewellOfError : kFarewell);
    for (Patience patience; !done; patience.wait()) {
      if (failed && Clock::now() > last) library_.end_all(last_word_ & ~kMissed);
      if (Clock::now() > last || library_.test(&met, &done) != 0) return;
      all_done();
    }
    for (End& end : ends_) {
      if (!end.request) continue;
      library_.cancel(&end.request);
      *receive_from(0) = end.request;
    }
    const Clock::time_point soon = Clock::now() + kLetGo;
    for (Patience patience; !all_done() && Clock::now() < soon;) patience.wait();
    library_.finish();
  }

  /// Leaves no request that could still touch the memory of an exchange which has failed: what has
  /// begun is waited for, what has not is never begun.
  void let_go() {
    for (const bool cancelled : {false, true}) {
      const Clock::time_point last = Clock::now() + kLetGo;
      for (Patience patience; !all_done() && Clock::now() < last;) patience.wait();
      for (Transfer& transfer : transfers_)
        if (transfer.receives && !cancelled) library_.cancel(&transfer.request);
    }
    transfers_.clear();
  }

  /// Throws where a rank that has still to take part in the exchange never will: it has said its
  /// last word, and what it sent before has come. Others that have ended are met in a later one.
  void heed_those_awaited() {
    test_ends();
    if (all_done()) return;
    for (const Transfer& transfer : transfers_) {
      const End& end = end_of(transfer.rank);
      if (!end.request) leave_as_told(end);
    }
  }

  /// Throws where it is time to go without those that this exchange waits for.
  void miss(const Watch::Wait& wait) {
    leave_if_told();
    std::vector<int64_t> late;
    for (const Transfer& transfer : transfers_) late.push_back(transfer.rank);
    std::sort(late.begin(), late.end());
    late.erase(std::unique(late.begin(), late.end()), late.end());
    if (!wait.speaks(late)) return;
    has_missed_ = true;
    abandon(ErrorKind::kDevice);  // at once, so that no other speaks too
    throw watch_->late(late, wait.seconds());
  }

  /// The last word of another rank, once its request is done: an ErrorKind, and kMissed where the
  /// run ends because some rank was missed.
  struct End {
    int word = 0;
    void* request = nullptr;
  };
  static constexpr int kMissed = 1 << 16;

  void test_ends() {
    for (End& end : ends_) {
      int done = 0;
      if (end.request) check(library_.test(&end.request, &done));
    }
  }
  void leave_if_told() {
    for (int r = 0; r < ranks_; ++r)
      if (r != rank_ && !end_of(r).request) leave_as_told(end_of(r));
  }
  [[noreturn]] void leave_as_told(const End& end) {
    has_missed_ = has_missed_ || (end.word & kMissed) != 0;
    throw Abandoned(static_cast<ErrorKind>(end.word & ~kMissed));
  }
  End& end_of(int rank) { return ends_[static_cast<size_t>(rank)]; }

  const MpiLibrary& library_;
  int rank_ = 0, ranks_ = 1;
  std::vector<Transfer> transfers_;
  std::vector<End> ends_;  ///< of the other ranks
  int last_word_ = 0;      ///< this rank's own, 0 before it is said
  std::optional<Watch> watch_;
  bool has_missed_ = false;  ///< the run ends because some rank was missed, and may never come
};

/// This process's rank. MPI is begun once and ended when the program ends, after its last words:
/// as soon as a process is gone with an exit code, its launcher may end the others.
MpiRank& own_rank() {
  static MpiRank* const rank = [] {
    auto* const started = new MpiRank(open_library());
    std::atexit([] { own_rank().finish(); });
    return started;
  }();
  return *rank;
}

void launch(int64_t ranks, const RankBody& body) {
  const Launched launched = read_launched();
  if (launched.launcher.empty())
    throw Error(ErrorKind::kConfig, "the communicator mpi needs a launcher of processes")
        .hint(
            "mpirun -np 4 levanter train --config FILE; on one machine, communicator = "
            "\"threads\" needs none");
  if (launched.ranks != ranks)
    throw Error(ErrorKind::kConfig, cat("trainer.ranks = ", ranks, " and ", launched.launcher,
                                        " has started ", launched.ranks))
        .hint("leave trainer.ranks out: the launcher says how many there are");
  MpiRank& end = own_rank();
  if (end.size() != ranks)
    throw Error(ErrorKind::kDevice, cat(launched.launcher, " has started ", ranks,
                                        " processes, of which MPI sees ", end.size()))
        .hint(
            "levanter was built with another MPI than this launcher's: build it again with this "
            "one");
  body(end);
}

}  // namespace

extern const CommunicatorEntry mpi_entry;
const CommunicatorEntry mpi_entry = {"mpi", "ranks as processes that mpirun or srun starts",
                                     launch};

}  // namespace levanter::dist
