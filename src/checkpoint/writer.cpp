// Saving while training goes on.
#include "checkpoint/writer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/threads.h"
#include "checkpoint/save.h"
#include "device/ranges.h"
#include "device/tracing.h"

namespace levanter {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kMostPause = 60;             // seconds between two tries
constexpr double kShortPause = 0.02;          // the same, while somebody waits
constexpr std::chrono::seconds kPatience(1);  // of somebody who waits
constexpr std::chrono::milliseconds kBetweenReports(100);

/// The pieces of a save: read in place until `freeze` has copied the rest, or all of them where
/// they may be read a second time.
class SharedPieces final : public PieceSource {
 public:
  /// `number`: which save of the writer this is.
  SharedPieces(const SavePlan& plan, std::span<std::byte> staging, int64_t number)
      : plan_(plan), staging_(staging), number_(number), left_(plan.pieces.size() + 1, 0) {
    for (size_t i = plan.pieces.size(); i-- > 0;) left_[i] = left_[i + 1] + plan.pieces[i].size;
    whole_ = plan.contents.permanent && left_[0] <= staging.size();
  }

  /// Begins anew, after a failure; false where the pieces read first are gone.
  bool rewind() {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    if (whole_) next_ = 0;
    changed_.notify_all();
    return whole_;
  }

  std::span<const std::byte> take(size_t index) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !copying_; });
    reading_ = true;
    const SavePlan::Piece& piece = plan_.pieces[index];
    if (index < staged_from_) return piece.read(room_);
    return staging_.subspan(left_[staged_from_] - left_[index], piece.size);
  }

  void release(size_t index) override {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    next_ = index + 1;
    changed_.notify_all();
  }

  void give_up() { given_up_ = true; }
  bool given_up() const override { return given_up_; }

  /// The save has ended, well or not.
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  /// Returns once the save has ended, or after so long: whether it has.
  bool wait_for_end(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, most, [this] { return ended_; });
  }
  Progress progress() {
    const std::lock_guard lock(mutex_);
    const auto all = static_cast<double>(left_[0]);
    return {"saving", all - static_cast<double>(left_[next_]), all, "B", number_};
  }

  /// Returns when the plan's memory is read no more.
  void freeze() {
    std::unique_lock lock(mutex_);
    if (frozen_) return;
    // The piece being read now is waited for, so it needs no room.
    const auto first = [&] { return next_ + (reading_ ? 1 : 0); };
    changed_.wait(lock, [&] { return ended_ || left_[first()] <= staging_.size(); });
    frozen_ = true;
    if (ended_) return;
    copying_ = true;
    const size_t from = whole_ ? 0 : first();
    lock.unlock();
    size_t at = 0;
    for (const SavePlan::Piece& piece : std::span(plan_.pieces).subspan(from)) {
      piece.memory->download(staging_.subspan(at, piece.size), piece.data);
      at += piece.size;
    }
    lock.lock();
    changed_.wait(lock, [&] { return ended_ || !reading_; });
    staged_from_ = from;
    copying_ = false;
    changed_.notify_all();
  }

 private:
  const SavePlan& plan_;
  std::span<std::byte> staging_;
  int64_t number_;
  std::vector<std::byte> room_;  // of the piece being read, where it must be brought to the host
  std::vector<size_t> left_;     // bytes from each piece to the end
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t next_ = 0;                               // the first piece not yet written
  size_t staged_from_ = static_cast<size_t>(-1);  // pieces from here on stand in the staging
  std::atomic<bool> given_up_{false};
  bool whole_ = false, reading_ = false, copying_ = false, frozen_ = false, ended_ = false;
};

}  // namespace

struct CheckpointWriter::Impl {
  std::string folder;
  int64_t staging_bytes = 0;
  int64_t saves = 0;  ///< begun so far
  std::unique_ptr<std::byte[]> staging;

  // The save under way; the thread owns report and failure until it is joined.
  std::unique_ptr<SavePlan> plan;
  std::unique_ptr<SharedPieces> pieces;
  std::thread thread;
  std::exception_ptr failure;
  std::optional<SaveReport> report;
  std::atomic<bool> ended{false}, retrying{false};

  std::mutex mutex;  // of what follows
  std::condition_variable hurry;
  bool hurried = false;  ///< somebody waits
  Clock::time_point hurried_at = {};
  std::string problem;

  void run() {
    name_thread("checkpoint");
    const Range range("write a checkpoint");
    try {
      save();
    } catch (...) {  // no memory for the words of a fault
      failure = std::current_exception();
    }
    retrying = false;
    pieces->end();
    ended = true;
  }

  /// Tries until the save is made, or failed for good.
  void save() {
    const SavePart& part = plan->contents.part;
    const Clock::time_point begun = Clock::now();
    const auto ends = [&] {
      if (part.index > 0) return !path_exists(part.folder);
      const std::chrono::duration<double> elapsed = Clock::now() - begun;
      return part.count > 1 && elapsed.count() > part.patience;
    };
    for (double seconds = 0;; seconds = std::clamp(2 * seconds, 1.0, kMostPause)) {
      // A fault that passes, such as of a network, costs nobody more than a second try at once.
      const bool last_try = seconds > 0 && gives_up();
      try {
        failure = nullptr;
        report = write_checkpoint(folder, *plan, *pieces);
        break;
      } catch (const Error& error) {
        failure = std::current_exception();
        if (last_try || error.kind() != ErrorKind::kIo || ends() || !pieces->rewind()) break;
        pause(seconds, error.message());
      } catch (...) {
        failure = std::current_exception();
        break;
      }
    }
    if (failure) discard_checkpoint(*plan);
  }

  /// Whether somebody has waited for long: a try that begins now is the last one.
  bool gives_up() {
    const std::lock_guard lock(mutex);
    return hurried && Clock::now() - hurried_at > kPatience;
  }

  void pause(double seconds, const std::string& message) {
    std::unique_lock lock(mutex);
    if (!retrying) problem = message;
    retrying = true;
    const bool in_hurry = hurried;
    if (in_hurry) seconds = std::min(seconds, kShortPause);
    hurry.wait_for(lock, std::chrono::duration<double>(seconds),
                   [&] { return hurried && !in_hurry; });
  }

  void join(const ProgressReport& progress = {}) {
    {
      const std::lock_guard lock(mutex);
      if (!hurried) hurried_at = Clock::now();
      hurried = true;
    }
    hurry.notify_all();
    if (!thread.joinable()) return;
    while (progress && !pieces->wait_for_end(kBetweenReports)) progress(pieces->progress());
    thread.join();
  }

  void join_and_rethrow(const ProgressReport& progress = {}) {
    join(progress);
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  }
};

CheckpointWriter::CheckpointWriter(std::string folder, int64_t staging_bytes)
    : impl_(std::make_unique<Impl>()) {
  LEV_CHECK(staging_bytes >= 0, "staging has no negative size");
  impl_->folder = std::move(folder);
  impl_->staging_bytes = staging_bytes;
  impl_->staging = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(staging_bytes));
}

CheckpointWriter::~CheckpointWriter() {
  if (impl_->pieces) impl_->pieces->give_up();
  impl_->join();
}

int64_t CheckpointWriter::staging_bytes() const { return impl_->staging_bytes; }

SavePart CheckpointWriter::begin(CheckpointContents contents) {
  Impl& it = *impl_;
  it.join_and_rethrow();
  if (contents.part.count > 1 && contents.part.folder.empty())
    contents.part.folder = prepare_checkpoint(it.folder, contents.step);
  it.plan = std::make_unique<SavePlan>(std::move(contents));
  it.pieces = std::make_unique<SharedPieces>(
      *it.plan, std::span(it.staging.get(), static_cast<size_t>(it.staging_bytes)), ++it.saves);
  it.report.reset();
  it.ended = it.hurried = false;
  it.problem.clear();
  it.thread = start_thread([&it] { it.run(); });
  return it.plan->contents.part;
}

void CheckpointWriter::before_update() {
  if (impl_->thread.joinable() && !impl_->ended) impl_->pieces->freeze();
  if (impl_->ended) impl_->join_and_rethrow();
}

void CheckpointWriter::wait(const ProgressReport& progress) { impl_->join_and_rethrow(progress); }

bool CheckpointWriter::retrying() const { return impl_->retrying; }

std::string CheckpointWriter::take_problem() {
  const std::lock_guard lock(impl_->mutex);
  return std::exchange(impl_->problem, "");
}

std::optional<SaveReport> CheckpointWriter::take_report() {
  if (!impl_->ended) return std::nullopt;
  impl_->join();
  return std::exchange(impl_->report, std::nullopt);
}

}  // namespace levanter
