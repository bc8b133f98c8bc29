// Ranks as threads of one process: each reads the others' memory between two meetings.
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/threads.h"
#include "dist/communicator.h"

namespace levanter::dist {

namespace {

/// A meeting point of all ranks, again and again.
class Meeting {
 public:
  explicit Meeting(int64_t ranks) : ranks_(ranks), sent(static_cast<size_t>(ranks)) {}

  void arrive() {
    std::unique_lock lock(mutex_);
    check();
    const int64_t round = round_;
    if (++arrived_ == ranks_) {
      arrived_ = 0;
      ++round_;
      all_here_.notify_all();
      return;
    }
    all_here_.wait(lock, [&] { return round_ != round || abandoned_; });
    if (round_ == round) check();
  }

  void heed() {
    const std::lock_guard lock(mutex_);
    check();
  }

  /// The first error counts: the others follow from it.
  void abandon(ErrorKind kind) {
    const std::lock_guard lock(mutex_);
    if (!abandoned_) abandoned_ = kind;
    all_here_.notify_all();
  }

  int64_t size() const { return ranks_; }

 private:
  void check() const {
    if (abandoned_) throw Abandoned(*abandoned_);
  }

  int64_t ranks_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int64_t arrived_ = 0, round_ = 0;
  std::optional<ErrorKind> abandoned_;

 public:
  std::vector<std::span<const Sent>> sent;  ///< of each rank, between two meetings
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Meeting& meeting, int64_t rank) : meeting_(meeting), rank_(rank) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return meeting_.size(); }
  void exchange(std::span<const Sent> send, std::span<const Received> receive) override {
    const auto me = static_cast<size_t>(rank_);
    meeting_.sent[me] = send;
    meeting_.arrive();
    bool agree = true;
    for (size_t source = 0; source < receive.size(); ++source) {
      const Sent& from = meeting_.sent[source][me];
      agree = agree && from.bytes == receive[source].bytes;
      if (agree && from.bytes > 0) std::memcpy(receive[source].data, from.data, from.bytes);
    }
    meeting_.arrive();  // nobody changes what another is still reading
    LEV_CHECK(agree, "two ranks' sizes differ");
  }
  void abandon(ErrorKind kind) override { meeting_.abandon(kind); }
  void heed() override { meeting_.heed(); }

 private:
  Meeting& meeting_;
  int64_t rank_;
};

void launch(int64_t ranks, const RankBody& body) {
  Meeting meeting(ranks);
  std::vector<ThreadRank> ends;
  for (int64_t rank = 0; rank < ranks; ++rank) ends.emplace_back(meeting, rank);
  std::vector<std::thread> others;
  others.reserve(ends.size());
  try {
    for (size_t r = 1; r < ends.size(); ++r)
      others.push_back(start_thread([&, r] { body(ends[r]); }, static_cast<int>(r) - 1));
  } catch (const Error& error) {
    meeting.abandon(error.kind());
    for (std::thread& other : others) other.join();
    throw;
  }
  body(ends[0]);
  for (std::thread& other : others) other.join();
}

}  // namespace

extern const CommunicatorEntry threads_entry;
const CommunicatorEntry threads_entry = {"threads", "ranks as threads of one process", launch};

}  // namespace levanter::dist
