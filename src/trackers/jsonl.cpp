// metrics.jsonl: one JSON object a step, for scripts.
#include <cmath>
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
      : file_(join_path(context.run_folder, "metrics.jsonl")) {
    end_ = line_start_ = kept_bytes(file_.path(), context.resume_step);
    file_.truncate(end_);
    if (end_ > 0) take_up_last_line();
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
        if (key != name) continue;
        old = value;
        known = true;
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
    const int64_t end = line_start_ + static_cast<int64_t>(text.size());
    try {
      file_.write(line_start_, text);
      if (end < end_) file_.truncate(end);
    } catch (const Error&) {
      file_.truncate(line_start_);  // whole lines only; the next flush tries this one again
      end_ = line_start_;
      throw;
    }
    end_ = end;
    pending_ = false;
  }

  void finish() override { flush(); }

 private:
  /// An evaluation that a stop cut short joins the line of its step.
  void take_up_last_line() {
    const MappedFile file(file_.path());
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                                file.bytes().size());
    const size_t before = text.size() < 2 ? text.npos : text.find_last_of('\n', text.size() - 2);
    const size_t start = before == text.npos ? 0 : before + 1;
    const auto object = nlohmann::ordered_json::parse(text.substr(start), nullptr, false);
    for (const auto& [name, value] : object.items())
      if (name == "step")
        step_ = value.get<int64_t>();
      else
        line_.emplace_back(name, value.is_number() ? value.get<double>() : std::nan(""));
    line_start_ = static_cast<int64_t>(start);
  }

  LogFile file_;
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
