// metrics.csv: a row a step, for spreadsheets.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "trackers/log_sink.h"
#include "trackers/tracker.h"

namespace levanter {

namespace {

constexpr std::string_view kFileName = "metrics.csv";

/// A name of a column; RFC 4180 has quotation marks around commas, marks and line ends.
std::string field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

/// The fields of a row, as `field` writes them.
std::vector<std::string> fields_of(std::string_view row) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < row.size(); ++i) {
    const bool twice = quoted && row.substr(i, 2) == "\"\"";
    if (row[i] == '"' && !twice) {
      quoted = !quoted;
    } else if (row[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += row[i];
      if (twice) ++i;
    }
  }
  return fields;
}

std::string number(double value) { return std::isfinite(value) ? json_number(value) : "nan"; }

/// The step that a row begins with, or -1.
int64_t step_of(std::string_view row) {
  int64_t step = -1;
  const auto [end, problem] = std::from_chars(row.data(), row.data() + row.size(), step);
  return problem == std::errc() && end != row.data() + row.size() && *end == ',' ? step : -1;
}

/// A row with empty fields for the columns that came after it; `columns` with that of the step.
std::string padded(std::string row, size_t columns) {
  const size_t fields = fields_of(row).size();
  return row + std::string(columns - std::min(columns, fields), ',');
}

class CsvTracker final : public Tracker {
 public:
  explicit CsvTracker(const TrackerContext& context)
      : path_(join_path(context.run_folder, kFileName)),
        sink_(path_, std::string(kFileName), "row") {
    take_up(context.resume_step);
  }

  void log(const Metrics& metrics, int64_t step) override {
    if (step != step_) {
      add_row();
      step_ = step;
      row_.clear();
    }
    for (const auto& [name, value] : metrics) {
      auto found = std::find(columns_.begin(), columns_.end(), name);
      if (found == columns_.end()) {
        columns_.push_back(name);
        stale_ = true;
        found = columns_.end() - 1;
      }
      row_.resize(columns_.size());
      row_[static_cast<size_t>(found - columns_.begin())] = number(value);
      changed_ = true;
    }
  }

  void log_summary(const Metrics&) override {}
  void message(std::string_view) override {}

  /// What is still to come for the last step, such as an evaluation, joins its row.
  void flush() override {
    add_row();
    sink_.write();
  }

  void finish() override {
    flush();
    sink_.finish();
  }

  std::string news() override { return sink_.news(); }

 private:
  /// Goes on with what a former start has written of the steps up to `resume_step`.
  void take_up(int64_t resume_step) {
    std::string kept;
    try {
      if (resume_step > 0 && path_exists(path_)) {
        for (const std::string& row : split(read_file(path_), '\n')) {
          if (kept.empty() && row.starts_with("step,")) {
            columns_ = fields_of(row);
            columns_.erase(columns_.begin());
            kept = row + "\n";
          } else if (const int64_t step = step_of(row); step >= 0 && step <= resume_step) {
            kept += padded(row, columns_.size() + 1) + "\n";
          }
        }
      }
      write_file_atomic(path_, kept);
    } catch (const Error& error) {
      sink_.fail(error.message());
    }
  }

  /// Hands the row of the step to the sink, in the place of its former version if there is one.
  void add_row() {
    if (!changed_) return;
    changed_ = false;
    if (stale_) write_head();
    row_.resize(columns_.size());
    std::string text = cat(step_, ",", join(row_, ","), "\n");
    if (written_step_ == step_)
      sink_.replace_last(std::move(text));
    else
      sink_.add(std::move(text));
    written_step_ = step_;
    sink_.write();
  }

  /// Writes the file anew with a head that has all columns, without the row of this step, which is
  /// to be written again. Rows before it get empty fields for what was not measured then.
  void write_head() {
    std::vector<std::string> names = {"step"};
    for (const std::string& name : columns_) names.push_back(field(name));
    try {
      sink_.write();
      std::string text = path_exists(path_) ? read_file(path_) : "";
      if (written_step_ == step_ && !text.empty())
        text.erase(text.find_last_of('\n', text.size() - 2) + 1);
      const size_t rows = text.starts_with("step,") ? text.find('\n') + 1 : 0;
      std::string table = join(names, ",") + "\n";
      for (const std::string& row : split(std::string_view(text).substr(rows), '\n'))
        if (!row.empty()) table += padded(row, names.size()) + "\n";
      write_file_atomic(path_, table);
      stale_ = false;
      written_step_ = -1;
    } catch (const Error& error) {
      if (!std::exchange(told_, true) && !sink_.failing())
        sink_.tell(cat(error.message(), "; the run goes on, and it is tried again"));
    }
  }

  std::string path_;
  trackers::LogSink sink_;
  std::vector<std::string> columns_, row_;  // but for the step; the values of step_
  int64_t step_ = -1, written_step_ = -1;
  bool changed_ = false, stale_ = false;  // the row since it was handed on; the file's head
  bool told_ = false;
};

std::unique_ptr<Tracker> make(const TrackerConfig&, const TrackerContext& context) {
  return std::make_unique<CsvTracker>(context);
}

}  // namespace

namespace trackers {
extern const TrackerEntry csv_entry;
const TrackerEntry csv_entry = {"csv", "metrics.csv in the run's folder: a row a step",
                                config::make_choice<TrackerConfig>, make};
}  // namespace trackers

}  // namespace levanter
