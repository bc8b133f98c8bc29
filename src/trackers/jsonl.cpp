// metrics.jsonl: one JSON object a step, for scripts; samples.jsonl: what the model wrote.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.h"
#include "base/strings.h"
#include "trackers/log_sink.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr std::string_view kFileName = "metrics.jsonl", kSamplesName = "samples.jsonl";
constexpr size_t kMostGaps = 3;  // that are named one by one

/// The step of a whole line, or nothing for what is no line of metrics.
std::optional<int64_t> step_of_line(std::string_view line) {
  constexpr std::string_view kHead = "{\"step\": ";  // as we write it
  if (line.starts_with(kHead) && line.ends_with("}\n") && line.find('{', 1) == line.npos) {
    int64_t step = 0;
    const auto read = std::from_chars(line.data() + kHead.size(), line.data() + line.size(), step);
    if (read.ec == std::errc() && (*read.ptr == ',' || *read.ptr == '}')) return step;
  }
  if (!line.ends_with('\n')) return std::nullopt;
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("step")) return std::nullopt;
  const auto& step = object["step"];
  return step.is_number_integer() ? std::optional(step.get<int64_t>()) : std::nullopt;
}

/// What a resume finds in the file: how much of it stays, and which steps are not in it.
class History final {
 public:
  History(const std::string& path, int64_t first_step, int64_t resume_step)
      : expected_(first_step + 1), resume_step_(resume_step) {
    const InputFile file(path);
    std::string text;
    for (int64_t at = 0; at < file.size();) {
      const auto size = std::min(static_cast<int64_t>(kReadBytes), file.size() - at);
      const size_t before = text.size();
      text.resize(before + static_cast<size_t>(size));
      file.read(at, std::as_writable_bytes(std::span(text).subspan(before)));
      at += size;
      text.erase(0, take_lines(text, before));
    }
    missing(resume_step_ + 1);
  }

  /// Bytes up to and with the last line of a step that is not done again.
  int64_t kept_bytes() const { return kept_bytes_; }

  /// Where the last of these lines begins.
  int64_t last_line() const { return last_line_; }

  /// "steps 251-500 are missing in metrics.jsonl", or "" when none is.
  std::string gaps() const {
    if (gaps_.empty()) return "";
    std::string text = join(std::span(gaps_).first(std::min(gaps_.size(), kMostGaps)), ", ");
    if (gaps_.size() > kMostGaps) text += cat(" and more, ", missing_, " in all,");
    return cat(missing_ == 1 ? "step " : "steps ", text, missing_ == 1 ? " is" : " are",
               " missing in ", kFileName);
  }

 private:
  /// Takes all whole lines, the first of which ends at or after `from`; the bytes of them.
  size_t take_lines(std::string_view text, size_t from) {
    size_t start = 0;
    for (size_t end; (end = text.find('\n', std::max(start, from))) != text.npos; start = end + 1) {
      const std::string_view line = text.substr(start, end + 1 - start);
      seen_bytes_ += static_cast<int64_t>(line.size());
      const auto step = step_of_line(line);
      if (!step || *step > resume_step_) continue;
      kept_bytes_ = seen_bytes_;
      last_line_ = seen_bytes_ - static_cast<int64_t>(line.size());
      if (*step < expected_) continue;
      missing(*step);
      expected_ = *step + 1;
    }
    return start;
  }

  /// Notes that the steps from the one expected to the one before `step` are not there.
  void missing(int64_t step) {
    if (step <= expected_) return;
    const bool one = step - 1 == expected_;
    gaps_.push_back(one ? cat(expected_) : cat(expected_, "-", step - 1));
    missing_ += step - expected_;
  }

  int64_t expected_, resume_step_;
  int64_t seen_bytes_ = 0, kept_bytes_ = 0, last_line_ = 0, missing_ = 0;
  std::vector<std::string> gaps_;
};

class JsonlTracker final : public Tracker {
 public:
  explicit JsonlTracker(const TrackerContext& context)
      : context_(context),
        sink_(join_path(context.run_folder, kFileName), std::string(kFileName), "line",
              [this](LogFile& file) { cut_back(file); }),
        samples_(join_path(context.run_folder, kSamplesName), std::string(kSamplesName), "line",
                 [this](LogFile& file) { cut_samples(file); }) {
    sink_.write();
    has_samples_ = path_exists(join_path(context.run_folder, kSamplesName));
    if (has_samples_) samples_.write();
  }

  void log(const Metrics& metrics, int64_t step) override {
    if (step != step_) {
      flush();
      step_ = step;
      time_ = utc_time(now(context_));
      line_.clear();
      written_ = false;
    }
    for (const auto& [name, value] : metrics) {
      bool known = name == "step" || name == "time";
      for (auto& [key, old] : line_) {
        if (key != name) continue;
        old = value;
        known = true;
      }
      if (!known) line_.emplace_back(name, value);
    }
    changed_ = true;
  }

  /// samples.jsonl has them: {"step", "prompt", "text"}, a line each.
  void log_samples(std::span<const SampleText> samples, int64_t step) override {
    using Json = nlohmann::ordered_json;
    for (const SampleText& sample : samples) {
      const Json line = {{"step", step}, {"prompt", sample.prompt}, {"text", sample.text}};
      samples_.add(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    }
    has_samples_ = true;
    samples_.write();
  }

  // Summaries have a file of their own, summary.json.
  void log_summary(const Metrics&) override {}
  void message(std::string_view) override {}

  /// Writes the current step's line, in the place of its former version if there is one.
  void flush() override {
    if (changed_) {
      std::string text = cat("{\"step\": ", step_, ", \"time\": ", quote(time_));
      for (const auto& [name, value] : line_)
        text += cat(", ", quote(name), ": ", json_number(value));
      text += "}\n";
      if (written_)
        sink_.replace_last(std::move(text));
      else
        sink_.add(std::move(text));
      written_ = true;
      changed_ = false;
    }
    sink_.write();
    if (has_samples_) samples_.write();
  }

  void finish() override {
    flush();
    sink_.finish();
    if (has_samples_) samples_.finish();
  }

  std::string news() override {
    std::string line = sink_.news();
    return line.empty() ? samples_.news() : line;
  }

 private:
  /// Leaves the lines of steps that are not done again.
  void cut_back(LogFile& file) {
    if (context_.resume_step <= 0) return file.truncate(0);
    const History history(file.path(), context_.first_step, context_.resume_step);
    file.truncate(history.kept_bytes());
    if (step_ < 0 && history.kept_bytes() > 0)
      take_up_line(file.path(), history.last_line(), history.kept_bytes());
    if (const std::string gaps = history.gaps(); !gaps.empty()) sink_.tell(gaps);
  }

  /// The last line, which what is still to come for its step will join, such as an evaluation that
  /// was cut short.
  void take_up_line(const std::string& path, int64_t start, int64_t end) {
    std::string text(static_cast<size_t>(end - start), '\0');
    InputFile(path).read(start, std::as_writable_bytes(std::span(text)));
    const auto object = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
    const auto step = object.is_object() ? object.find("step") : object.end();
    if (step == object.end() || !step->is_number_integer()) return;
    step_ = step->get<int64_t>();
    for (const auto& [name, value] : object.items())
      if (name == "time" && value.is_string())
        time_ = value.get<std::string>();
      else if (name != "step")
        line_.emplace_back(name, value.is_number() ? value.get<double>() : std::nan(""));
    written_ = true;
    sink_.take_up_last(start, end);
  }

  /// Leaves the samples of steps that are not done again.
  void cut_samples(LogFile& file) {
    if (context_.resume_step <= 0) return file.truncate(0);
    file.truncate(History(file.path(), context_.resume_step, context_.resume_step).kept_bytes());
  }

  TrackerContext context_;
  trackers::LogSink sink_, samples_;
  bool has_samples_ = false;
  int64_t step_ = -1;
  std::string time_;  // when the step was first heard of
  Metrics line_;
  bool changed_ = false, written_ = false;  // the line since it was given to the sink, and whether
};

std::unique_ptr<Tracker> make(const TrackerConfig&, const TrackerContext& context) {
  return std::make_unique<JsonlTracker>(context);
}

}  // namespace

namespace trackers {
extern const TrackerEntry jsonl_entry;
const TrackerEntry jsonl_entry = {
    "jsonl",
    "metrics.jsonl in the run's folder: one object a step, for scripts; samples.jsonl: what "
    "trainer.sample has the model write",
    config::make_choice<TrackerConfig>, make};
}  // namespace trackers

}  // namespace levanter
