// Ranks as threads of one process: each reads the others' memory between two meetings.
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "base/error.h"
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

  void abandon() {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    all_here_.notify_all();
  }

  int64_t size() const { return ranks_; }

 private:
  void check() const {
    if (abandoned_) throw Error(ErrorKind::kInternal, "another rank of this run has stopped");
  }

  int64_t ranks_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int64_t arrived_ = 0, round_ = 0;
  bool abandoned_ = false;

 public:
  std::vector<std::span<const Sent>> sent;  ///< of each rank, between two meetings
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(std::shared_ptr<Meeting> meeting, int64_t rank)
      : meeting_(std::move(meeting)), rank_(rank) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return meeting_->size(); }
  void exchange(std::span<const Sent> send, std::span<const Received> receive) override {
    const auto me = static_cast<size_t>(rank_);
    meeting_->sent[me] = send;
    meeting_->arrive();
    bool agree = true;
    for (size_t source = 0; source < receive.size(); ++source) {
      const Sent& from = meeting_->sent[source][me];
      agree = agree && from.bytes == receive[source].bytes;
      if (agree && from.bytes > 0) std::memcpy(receive[source].data, from.data, from.bytes);
    }
    meeting_->arrive();  // nobody changes what another is still reading
    LEV_CHECK(agree, "two ranks' sizes differ");
  }
  void abandon() override { meeting_->abandon(); }

 private:
  std::shared_ptr<Meeting> meeting_;
  int64_t rank_;
};

}  // namespace

extern const CommunicatorEntry threads_entry;
const CommunicatorEntry threads_entry = {
    .name = "threads", .summary = "ranks as threads of one process", .make = [](int64_t ranks) {
      const auto meeting = std::make_shared<Meeting>(ranks);
      std::vector<std::unique_ptr<Communicator>> ends;
      for (int64_t rank = 0; rank < ranks; ++rank)
        ends.push_back(std::make_unique<ThreadRank>(meeting, rank));
      return ends;
    }};

}  // namespace levanter::dist
