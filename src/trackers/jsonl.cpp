// metrics.jsonl: one JSON object a step, for scripts.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

/// True when the line is whole and belongs to a step that the resumed run will not do again.
bool keep_line(std::string_view line, int64_t resume_step) {
  if (resume_step <= 0 || !line.ends_with('\n')) return false;
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("step")) return false;
  const auto& step = object["step"];
  return step.is_number_integer() && step.get<int64_t>() <= resume_step;
}

/// Bytes of the file up to and with the last line to keep; only later lines are read.
int64_t kept_bytes(const std::string& path, int64_t resume_step) {
  const MappedFile file(path);
  std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  while (!text.empty()) {
    const size_t end_before = text.find_last_of('\n', text.size() - 2);
    const size_t start = text.size() < 2 || end_before == text.npos ? 0 : end_before + 1;
    if (keep_line(text.substr(start), resume_step)) break;
    text = text.substr(0, start);
  }
  return static_cast<int64_t>(text.size());
}

class JsonlTracker final : public Tracker {
 public:
  explicit JsonlTracker(const TrackerContext& context)
      : path_(join_path(context.run_folder, "metrics.jsonl")) {
    make_directories(context.run_folder);
    if (path_exists(path_)) end_ = kept_bytes(path_, context.resume_step);
    line_start_ = end_;
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0 || ::ftruncate(fd_, end_) != 0) fail(errno);
  }
  ~JsonlTracker() override {
    if (fd_ >= 0) ::close(fd_);
  }

  void log(const Metrics& metrics, int64_t step) override {
    if (step != step_) {
      flush();
      step_ = step;
      line_start_ = end_;
      line_.clear();
    }
    for (const auto& [name, value] : metrics) {
      bool known = name == "step";
      for (auto& [key, old] : line_) {
        if (key == name) {
          old = value;
          known = true;
        }
      }
      if (!known) line_.emplace_back(name, value);
    }
    pending_ = true;
  }

  // Summaries have a file of their own, summary.json.
  void log_summary(const Metrics&) override {}
  void message(std::string_view) override {}

  /// Writes the current step's line, over its former version if there is one.
  void flush() override {
    if (!pending_) return;
    std::string text = cat("{\"step\": ", step_);
    for (const auto& [name, value] : line_)
      text += cat(", ", quote(name), ": ", json_number(value));
    text += "}\n";
    size_t done = 0;
    while (done < text.size()) {
      const ssize_t n = ::pwrite(fd_, text.data() + done, text.size() - done,
                                 line_start_ + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        const int error = errno;
        if (::ftruncate(fd_, line_start_) == 0) end_ = line_start_;
        fail(error);
      }
      done += static_cast<size_t>(n);
    }
    const int64_t end = line_start_ + static_cast<int64_t>(text.size());
    if (end < end_ && ::ftruncate(fd_, end) != 0) fail(errno);
    end_ = end;
    pending_ = false;
  }

  void finish() override { flush(); }

 private:
  [[noreturn]] void fail(int error) const {
    throw Error(ErrorKind::kIo,
                cat("cannot write ", path_, ": ", std::generic_category().message(error)))
        .hint("free space on that disk, or check the permissions of the run's folder");
  }

  std::string path_;
  int fd_ = -1;
  int64_t end_ = 0;         // bytes of the file
  int64_t line_start_ = 0;  // where the current step's line stands or will stand
  int64_t step_ = -1;
  Metrics line_;
  bool pending_ = false;
};

std::unique_ptr<Tracker> make(const TrackerContext& context) {
  return std::make_unique<JsonlTracker>(context);
}

}  // namespace

namespace trackers {
extern const TrackerEntry jsonl_entry;
const TrackerEntry jsonl_entry = {
    "jsonl", "metrics.jsonl in the run's folder: one object a step, for scripts", make};
}  // namespace trackers

}  // namespace levanter
