// tensorboard/: event files that TensorBoard reads.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <system_error>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "trackers/event_file.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr double kFlushSeconds = 2;
constexpr size_t kFlushBytes = 1 << 16;

/// The seconds in an event file's name, or -1 for another name.
int64_t seconds_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return -1;
  int64_t seconds = -1;
  name.remove_prefix(kPrefix.size());
  const auto end = std::from_chars(name.data(), name.data() + name.size(), seconds);
  return end.ec == std::errc() ? seconds : -1;
}

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

class TensorboardTracker final : public Tracker {
 public:
  explicit TensorboardTracker(const TrackerContext& context) : context_(context) {
    const std::string folder = join_path(context.run_folder, "tensorboard");
    make_directories(folder);
    int64_t newest = -1;
    for (const std::string& name : list_directory(folder))
      newest = std::max(newest, seconds_of(name));
    // Readers take files in the order of their names, so the clock may not stand still or go back.
    const double wall = now(context_);
    const int64_t seconds = std::max(static_cast<int64_t>(wall), newest + 1);
    std::string digits = cat(seconds);
    digits.insert(0, digits.size() < 10 ? 10 - digits.size() : 0, '0');
    path_ = join_path(
        folder, cat(kPrefix, digits, ".", host_name(), ".", static_cast<int64_t>(::getpid())));
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) fail(errno);
    append(trackers::version_event(wall));
    if (newest >= 0) {
      const int64_t first = context.resume_step > 0 ? context.resume_step + 1 : 0;
      append(trackers::restart_event(wall, first));
    }
    flush();
  }
  ~TensorboardTracker() override {
    if (fd_ >= 0) ::close(fd_);
  }

  void log(const Metrics& metrics, int64_t step) override {
    const double wall = now(context_);
    last_step_ = step;
    append(trackers::scalars_event(wall, step, metrics));
    if (pending_.size() >= kFlushBytes || std::fabs(wall - flushed_at_) >= kFlushSeconds) flush();
  }

  void log_summary(const Metrics& metrics) override {
    append(trackers::scalars_event(now(context_), last_step_, metrics));
  }

  void message(std::string_view) override {}

  void flush() override {
    flushed_at_ = now(context_);
    size_t done = 0;
    while (done < pending_.size()) {
      const ssize_t n = ::pwrite(fd_, pending_.data() + done, pending_.size() - done,
                                 bytes_ + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(errno);  // the records stay pending, and the next flush writes them anew
      done += static_cast<size_t>(n);
    }
    bytes_ += static_cast<int64_t>(done);
    pending_.clear();
  }

  void finish() override { flush(); }

 private:
  void append(std::string_view event) { pending_ += trackers::tf_record(event); }

  [[noreturn]] void fail(int error) const {
    throw Error(ErrorKind::kIo,
                cat("cannot write ", path_, ": ", std::generic_category().message(error)))
        .hint("free space on that disk, or check the permissions of the run's folder");
  }

  TrackerContext context_;
  std::string path_, pending_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  int64_t last_step_ = 0;
  double flushed_at_ = 0;
};

std::unique_ptr<Tracker> make(const TrackerContext& context) {
  return std::make_unique<TensorboardTracker>(context);
}

}  // namespace

namespace trackers {
extern const TrackerEntry tensorboard_entry;
const TrackerEntry tensorboard_entry = {
    "tensorboard", "event files in the run's tensorboard/, for TensorBoard", make};
}  // namespace trackers

}  // namespace levanter
