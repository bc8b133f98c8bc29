// Several trackers as one, each with a queue and a thread of its own.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "base/threads.h"
#include "device/ranges.h"
#include "device/tracing.h"
#include "trackers/tracker.h"

namespace levanter::trackers {

namespace {

/// A tracker, the calls that wait for it, and the thread that makes them. Held by that thread too:
/// one that hangs in a call outlives the run's interest in it.
class Lane final {
 public:
  struct Call {
    std::function<void(Tracker&)> make;
    bool progress = false;  ///< of which only the latest counts
  };

  explicit Lane(Named named)
      : name_(std::move(named.name)),
        tracker_(std::move(named.tracker)),
        shows_messages_(tracker_->shows_messages()) {}

  bool shows_messages() const { return shows_messages_; }

  /// Starts the thread; without one, calls are made at once.
  static void start(const std::shared_ptr<Lane>& lane) {
    try {
      lane->thread_ = start_thread([lane] { lane->serve(); });
    } catch (const Error&) {
      lane->thread_ = {};
    }
  }

  void add(Call call) {
    if (!thread_.joinable()) return make(call);
    const std::scoped_lock lock(mutex_);
    if (call.progress && !waiting_.empty() && waiting_.back().progress)
      waiting_.pop_back();
    else
      ++added_;
    if (waiting_.size() >= kMostWaiting) {
      waiting_.pop_front();
      ++done_;
      ++lost_;
    }
    waiting_.push_back(std::move(call));
    wake_.notify_all();
  }

  /// Waits until all calls so far have been made; false when that takes too long, or when the call
  /// has not come back for which that was so before.
  bool wait(std::chrono::steady_clock::time_point until) {
    if (!thread_.joinable()) return true;
    std::unique_lock lock(mutex_);
    const int64_t target = added_;
    if (done_ == stuck_at_) return done_ >= target;
    const bool done = idle_.wait_until(lock, until, [&] { return done_ >= target; });
    if (done) return true;
    stuck_at_ = done_;
    news_.push_back(cat("the tracker ", name_, " is stuck; the run goes on"));
    return false;
  }

  /// Says what was lost, where anything was.
  void account() {
    const std::scoped_lock lock(mutex_);
    if (lost_ > 0) news_.push_back(cat(name_, ": ", count_of(lost_, "call"), " came to nothing"));
    lost_ = 0;
  }

  std::string news() {
    const std::scoped_lock lock(mutex_);
    if (news_.empty()) return "";
    std::string line = std::move(news_.front());
    news_.pop_front();
    return line;
  }

  void end(std::chrono::steady_clock::time_point until) {
    if (!thread_.joinable()) return;
    const bool done = wait(until);
    {
      const std::scoped_lock lock(mutex_);
      ends_ = true;
      wake_.notify_all();
    }
    done ? thread_.join() : thread_.detach();
  }

 private:
  void serve() {
    name_thread(cat("tracker ", name_));
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return ends_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const Call call = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      make(call);
      lock.lock();
      ++done_;
      idle_.notify_all();
    }
  }

  /// One call, and what the tracker has to say after it.
  void make(const Call& call) {
    std::string failure;
    std::deque<std::string> said;
    try {
      const Range range("log");
      call.make(*tracker_);
      for (std::string line = tracker_->news(); !line.empty(); line = tracker_->news())
        said.push_back(std::move(line));
    } catch (const Error& error) {
      failure = error.message();
    } catch (const std::exception& other) {
      failure = other.what();
    }
    const std::scoped_lock lock(mutex_);
    news_.insert(news_.end(), said.begin(), said.end());
    if (!failure.empty()) {
      if (lost_++ == 0) news_.push_back(cat(name_, ": ", failure, "; the run goes on"));
    }
  }

  std::string name_;
  std::unique_ptr<Tracker> tracker_;
  const bool shows_messages_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<Call> waiting_;
  std::deque<std::string> news_;
  int64_t added_ = 0, done_ = 0, lost_ = 0;
  int64_t stuck_at_ = -1;  // calls made when one was last waited for in vain
  bool ends_ = false;
  std::thread thread_;
};

/// What cannot be said here cannot be said at all.
void write_line(int fd, std::string_view line) {
  const std::string text = cat(line, "\n");
  for (std::string_view left = text; !left.empty();) {
    const ssize_t n = ::write(fd, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    left.remove_prefix(static_cast<size_t>(n));
  }
}

class TrackerSet final : public Tracker {
 public:
  TrackerSet(std::vector<Named> trackers, int console_fd) : console_fd_(console_fd) {
    for (Named& named : trackers)
      Lane::start(lanes_.emplace_back(std::make_shared<Lane>(std::move(named))));
  }
  ~TrackerSet() override {
    const auto until = patience();
    for (const auto& lane : lanes_) lane->end(until);
  }

  void log(const Metrics& metrics, int64_t step) override {
    const auto shared = std::make_shared<const Metrics>(metrics);
    each([=](Tracker& tracker) { tracker.log(*shared, step); });
  }
  void log_summary(const Metrics& metrics) override {
    const auto shared = std::make_shared<const Metrics>(metrics);
    each([=](Tracker& tracker) { tracker.log_summary(*shared); });
  }
  void log_histograms(const Histograms& histograms, int64_t step) override {
    const auto shared = std::make_shared<const Histograms>(histograms);
    each([=](Tracker& tracker) { tracker.log_histograms(*shared, step); });
  }
  void log_samples(std::span<const SampleText> samples, int64_t step) override {
    const auto shared =
        std::make_shared<const std::vector<SampleText>>(samples.begin(), samples.end());
    each([=](Tracker& tracker) { tracker.log_samples(*shared, step); });
  }
  void message(std::string_view line) override {
    each([text = std::string(line)](Tracker& tracker) { tracker.message(text); });
  }
  void progress(const Progress& progress) override {
    each([progress](Tracker& tracker) { tracker.progress(progress); }, /*progress=*/true);
  }
  void flush() override {
    each([](Tracker& tracker) { tracker.flush(); });
    wait();
  }
  void ended(std::string_view outcome) override {
    each([text = std::string(outcome)](Tracker& tracker) { tracker.ended(text); });
  }
  void finish() override {
    each([](Tracker& tracker) { tracker.finish(); });
    wait();
    for (const auto& lane : lanes_) lane->account();
    spread_news();
    wait();
  }

 private:
  static std::chrono::steady_clock::time_point patience() {
    return std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(
               std::chrono::duration<double>(kPatience));
  }
  void each(const std::function<void(Tracker&)>& call, bool progress = false) {
    for (const auto& lane : lanes_) lane->add({call, progress});
    spread_news();
  }
  void wait() {
    const auto until = patience();
    for (const auto& lane : lanes_) lane->wait(until);
    spread_news();
  }
  void spread_news() {
    for (const auto& lane : lanes_)
      for (std::string line = lane->news(); !line.empty(); line = lane->news()) {
        for (const auto& listener : lanes_)
          listener->add({[line](Tracker& tracker) { tracker.message(line); }});
        // Who is in trouble may be unable to show it.
        const bool shown = std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& other) {
          return other != lane && other->shows_messages();
        });
        if (!shown) write_line(console_fd_, line);
      }
  }

  std::vector<std::shared_ptr<Lane>> lanes_;
  int console_fd_;
};

}  // namespace

std::unique_ptr<Tracker> together(std::vector<Named> trackers, int console_fd) {
  return std::make_unique<TrackerSet>(std::move(trackers), console_fd);
}

}  // namespace levanter::trackers
