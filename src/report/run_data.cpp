// What lies in a run's folder, as a plain struct.
#include "report/run_data.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "config/problems.h"
#include "config/toml.h"
#include "record/run_record.h"

namespace levanter::report {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kTailBytes = int64_t{1} << 15;
constexpr size_t kMostDepth = 32;  // of what is flattened

/// A JSON value as a text: strings as they are, lists joined.
std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return format_number(value.get<double>());
  if (!value.is_array()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<std::string> parts;
  for (const Json& item : value) parts.push_back(text_of(item));
  return join(parts, " ");
}

void flatten(const Json& object, const std::string& prefix, Texts& out, size_t depth = 0) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_object() && depth < kMostDepth)
      flatten(value, cat(prefix, name, "."), out, depth + 1);
    else
      out.emplace_back(prefix + name, text_of(value));
  }
}

void flatten(const config::Value& table, const std::string& prefix, Texts& out) {
  for (const config::Value::Member& member : table.members) {
    const std::string key = cat(prefix, config::print_key(member.key));
    if (member.value.kind == config::Value::Kind::kTable)
      flatten(member.value, key + ".", out);
    else
      out.emplace_back(key, member.value.print());
  }
}

/// A pipe may have nobody at its other end, and would be waited for without end.
std::string read_regular(const std::string& path) {
  if (is_stream(path))
    throw Error(ErrorKind::kIo, cat("cannot read ", path, ": it is no regular file"));
  return read_file(path);
}

/// A JSON text that is not too deep to be gone through; else what Json::is_discarded tells.
Json parse_json(const std::string& text) {
  if (json_depth(text) > static_cast<int>(kMostDepth)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

/// The object in a file; null where there is none, with a note where there should be.
Json read_object(const std::string& path, std::vector<std::string>& notes) {
  if (!path_exists(path)) return nullptr;
  try {
    Json object = parse_json(read_regular(path));
    if (object.is_object()) return object;
    notes.push_back(cat(file_name(path), " is no JSON object and was left out"));
  } catch (const Error& error) {
    notes.push_back(error.message());
  }
  return nullptr;
}

double number_of(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() && found->is_number() ? found->get<double>() : RunLine::kNone;
}

std::string string_of(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

double last_of(const Series* series) {
  return series && !series->values.empty() ? series->values.back() : RunLine::kNone;
}

double median_of(std::vector<double> values) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.empty()) return RunLine::kNone;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void take_config(const std::string& folder, RunLine& line, std::vector<std::string>& notes) {
  const std::string path = join_path(folder, "config.toml");
  if (!path_exists(path)) return;
  try {
    line.config = read_config(path);
  } catch (const Error& error) {
    notes.push_back(cat("config.toml was left out: ", error.message()));
  }
  if (const std::string* steps = find_text(line.config, "trainer.num_train_steps"))
    std::from_chars(steps->data(), steps->data() + steps->size(), line.total_steps);
}

/// What record and summary say.
void take_facts(const Json& record, const Json& summary, RunLine& line) {
  line.id = file_name(absolute_path(line.folder));
  if (record.is_object()) {
    line.started = string_of(record["starts"].back(), "started");
    line.ended = string_of(record["starts"].back(), "ended");
  }
  line.state = record::state_of(line.folder, record);
  if (line.state.empty()) line.state = string_of(summary, "status");
  if (const double step = number_of(summary, "global_step"); std::isfinite(step))
    line.step = static_cast<int64_t>(step);
  line.loss = number_of(summary, "train/loss");
  line.best_loss = number_of(summary, "best/eval/loss");
  if (const double step = number_of(summary, "best/eval/loss_step"); std::isfinite(step))
    line.best_step = static_cast<int64_t>(step);
}

/// What the metrics, or the end of them, say later than the summary.
void take_history(const History& history, RunLine& line) {
  line.step = std::max(line.step, history.last_step);
  if (const Series* losses = history.find("train/loss")) line.loss = last_of(losses);
  if (const Series* rates = history.find("throughput/tokens_per_second"))
    line.tokens_per_second = median_of(rates->values);
  const Series* losses = history.find("eval/loss");
  for (size_t i = 0; losses && i < losses->values.size(); ++i) {
    if (!(losses->values[i] < line.best_loss) && !std::isnan(line.best_loss)) continue;
    if (!std::isfinite(losses->values[i])) continue;
    line.best_loss = losses->values[i];
    line.best_step = losses->steps[i];
  }
}

/// Adds a file's samples; what is none is left out, with a note.
void take_samples(const std::string& path, std::vector<Sample>& samples,
                  std::vector<std::string>& notes) {
  if (!path_exists(path)) return;
  int64_t bad = 0;
  for (const std::string& line : split(read_regular(path), '\n')) {
    if (trim(line).empty()) continue;
    const Json sample = parse_json(line);
    const double step = number_of(sample, "step");
    if (std::isnan(step) || !sample.contains("text")) {
      ++bad;
      continue;
    }
    samples.push_back(
        {static_cast<int64_t>(step), string_of(sample, "prompt"), string_of(sample, "text")});
  }
  if (bad > 0) notes.push_back(cat(file_name(path), ": ", count_of(bad, "line"), " left out"));
}

/// Those of the run and those of reports, each once.
std::vector<Sample> all_samples(const std::string& folder, std::vector<std::string>& notes) {
  std::vector<Sample> samples;
  for (const std::string_view name : {kSamplesFile, kReportSamplesFile}) {
    try {
      take_samples(join_path(folder, name), samples, notes);
    } catch (const Error& error) {
      notes.push_back(cat(name, " was left out: ", error.message()));
    }
  }
  std::set<Sample> seen;
  std::vector<Sample> once;
  for (Sample& sample : samples)
    if (seen.insert(sample).second) once.push_back(std::move(sample));
  std::stable_sort(once.begin(), once.end(),
                   [](const Sample& a, const Sample& b) { return a.step < b.step; });
  return once;
}

void note_history(const History& history, std::vector<std::string>& notes) {
  if (history.lines == 0 && !history.torn)
    notes.push_back("there is no metrics.jsonl, or nothing in it: the tracker \"jsonl\" writes it");
  if (history.bad_lines > 0)
    notes.push_back(cat("metrics.jsonl: ", count_of(history.bad_lines, "line"), " of ",
                        format_count(history.lines), " left out, no object with a step"));
  if (history.torn) notes.push_back("metrics.jsonl: the last line has no end and was left out");
  const Series* losses = history.find("train/loss");
  if (!losses) return;
  const auto bad = std::find_if(losses->values.begin(), losses->values.end(),
                                [](double v) { return !std::isfinite(v); });
  if (bad != losses->values.end())
    notes.push_back(cat("the loss was first no number at step ",
                        losses->steps[static_cast<size_t>(bad - losses->values.begin())]));
}

}  // namespace

const std::string* find_text(const Texts& texts, std::string_view name) {
  for (const auto& [key, text] : texts)
    if (key == name) return &text;
  return nullptr;
}

bool is_run(const std::string& folder) {
  for (const char* name : {"config.toml", "run.json", "metrics.jsonl"})
    if (path_exists(join_path(folder, name))) return true;
  return false;
}

Texts read_config(const std::string& path) {
  const config::Sources sources;
  config::Problems problems(sources);
  const config::Value table = config::parse_toml(read_regular(path), path, problems);
  problems.raise(path);
  Texts out;
  flatten(table, "", out);
  return out;
}

RunLine read_line(const std::string& folder) {
  std::vector<std::string> notes;
  RunLine line;
  line.folder = folder;
  take_config(folder, line, notes);
  const Json summary = read_object(join_path(folder, "summary.json"), notes);
  take_facts(record::read_record(folder), summary, line);
  const std::string metrics = join_path(folder, "metrics.jsonl");
  try {
    take_history(summary.is_object() ? read_tail(metrics, kTailBytes) : read_history(metrics),
                 line);
  } catch (const Error&) {
    // A table has no room for what is wrong with a file; the report says it.
  }
  return line;
}

std::vector<Sample> read_samples(const std::string& path) {
  std::vector<Sample> samples;
  std::vector<std::string> notes;
  take_samples(path, samples, notes);
  return samples;
}

RunData read_run(const std::string& folder) {
  if (!is_run(folder))
    throw Error(ErrorKind::kData, cat(folder, " is no run's folder"))
        .hint("a run is a folder below trainer.log_dir, such as logs/char");
  RunData run;
  run.line.folder = folder;
  take_config(folder, run.line, run.notes);
  const Json summary = read_object(join_path(folder, "summary.json"), run.notes);
  const Json record = record::read_record(folder);
  take_facts(record, summary, run.line);
  if (summary.is_object()) flatten(summary, "", run.summary);
  if (record.is_object())
    for (const Json& start : record["starts"]) flatten(start, "", run.starts.emplace_back());
  else
    run.notes.push_back("there is no run.json that says what made the run");
  try {
    run.history = read_history(join_path(folder, "metrics.jsonl"));
    note_history(run.history, run.notes);
  } catch (const Error& error) {
    run.notes.push_back(cat("metrics.jsonl was left out: ", error.message()));
  }
  take_history(run.history, run.line);
  if (const Series* loss = run.history.find("train/loss")) run.spike = worst_spike(*loss);
  run.samples = all_samples(folder, run.notes);
  if (const Json plan = read_object(join_path(folder, "plan.json"), run.notes); plan.is_object())
    run.plan = plan.dump(-1, ' ', false, Json::error_handler_t::replace);
  return run;
}

std::vector<std::string> keys_that_differ(std::span<const Texts* const> configs) {
  std::vector<std::string> order;
  std::map<std::string_view, std::pair<size_t, std::set<std::string_view>>> found;
  for (const Texts* config : configs)
    for (const auto& [key, text] : *config) {
      auto& [count, values] = found[key];
      if (count++ == 0) order.push_back(key);
      values.insert(text);
    }
  std::erase_if(order, [&](const std::string& key) {
    const auto& [count, values] = found[key];
    return key == "trainer.id" || key == "trainer.log_dir" ||
           (count == configs.size() && values.size() == 1);
  });
  return order;
}

std::string plain_text(std::string_view toml) {
  if (toml.size() < 2 || toml.front() != '"' || toml.back() != '"') return std::string(toml);
  const Json value = Json::parse(toml, nullptr, /*allow_exceptions=*/false);
  return value.is_string() ? value.get<std::string>() : std::string(toml);
}

}  // namespace levanter::report
