// levanter runs: a table of the runs in a folder.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "report/run_table.h"

namespace levanter::commands {

namespace {

using report::RunLine;
using report::RunTable;

constexpr size_t kMostKeys = 8;    // columns of keys in a table for people
constexpr size_t kMostWidth = 36;  // of a cell there
constexpr const char* kDefaultFolder = "logs";

constexpr Option kOptions[] = {
    {"sort", "KEY",
     "by a column (run, state, step, loss, best_loss, tokens_per_second, ...) or a "
     "key of the config; default: by name"},
    {"reverse", "", "the other way round", false, false, false, "sort"},
    {"where", "KEY=VALUE", "only runs of which this is true; also !=, <, <=, >, >=", false, false,
     true},
    {"key", "KEY", "shows this key of the config, in place of those that differ", false, false,
     true},
    {"json", "", "print a line of JSON for each run"},
    {"csv", "", "print comma-separated values"},
};

/// The last parts of keys, as far as they tell them apart.
std::string short_name(const std::string& key, const std::vector<std::string>& all) {
  const std::string end = key.substr(key.rfind('.') + 1);
  const auto same = std::count_if(all.begin(), all.end(), [&](const std::string& other) {
    return other.substr(other.rfind('.') + 1) == end;
  });
  return same == 1 ? end : key;
}

std::string cell(std::string text) {
  if (text.size() > kMostWidth) text = text.substr(0, kMostWidth - 3) + "...";
  return text.empty() ? "-" : text;
}

/// The cells of a run as people read them.
std::vector<std::string> cells(const RunLine& run, const std::vector<std::string>& keys) {
  const auto fixed = [](double value, int digits) {
    return std::isfinite(value) ? format_fixed(value, digits) : "";
  };
  std::vector<std::string> row = {
      run.id,
      run.state,
      run.total_steps > 0 ? cat(run.step, "/", run.total_steps) : cat(run.step),
      fixed(run.best_loss, 4),
      fixed(run.loss, 4),
      std::isfinite(run.tokens_per_second) ? format_count(std::llround(run.tokens_per_second))
                                           : ""};
  for (const std::string& key : keys) row.push_back(RunTable::text(run, key));
  for (std::string& text : row) text = cell(std::move(text));
  return row;
}

std::string table_of(const RunTable& table, std::vector<std::string> keys) {
  const size_t left_out = keys.size() > kMostKeys ? keys.size() - kMostKeys : 0;
  keys.resize(keys.size() - left_out);
  std::vector<std::vector<std::string>> rows = {
      {"run", "state", "step", "best loss", "loss", "tokens/s"}};
  for (const std::string& key : keys) rows[0].push_back(short_name(key, keys));
  for (const RunLine& run : table.runs()) rows.push_back(cells(run, keys));
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    text += line + "\n";
  }
  if (left_out > 0)
    text += cat("they differ in ", count_of(static_cast<int64_t>(left_out), "key"),
                " more; --key K shows one, --json all\n");
  return text;
}

std::string json_lines(const RunTable& table, const std::vector<std::string>& keys) {
  using Json = nlohmann::ordered_json;
  const auto number = [](double value) { return std::isfinite(value) ? Json(value) : Json(); };
  std::string text;
  for (const RunLine& run : table.runs()) {
    Json config = Json::object();
    for (const std::string& key : keys) config[key] = RunTable::text(run, key);
    const Json object = {{"run", run.id},
                         {"folder", run.folder},
                         {"state", run.state},
                         {"step", run.step},
                         {"total_steps", run.total_steps},
                         {"loss", number(run.loss)},
                         {"best_loss", number(run.best_loss)},
                         {"best_step", run.best_step < 0 ? Json() : Json(run.best_step)},
                         {"tokens_per_second", number(run.tokens_per_second)},
                         {"started", run.started},
                         {"ended", run.ended},
                         {"config", config}};
    text += object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text;
}

/// RFC 4180: quotation marks around what holds commas, marks or line ends.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string csv(const RunTable& table, const std::vector<std::string>& keys) {
  std::vector<std::string> names(report::columns().begin(), report::columns().end());
  names.insert(names.end(), keys.begin(), keys.end());
  std::string text;
  const auto add = [&](const auto& field) {
    for (size_t i = 0; i < names.size(); ++i)
      text += cat(i > 0 ? "," : "", csv_field(field(names[i])));
    text += "\n";
  };
  add([](const std::string& name) { return name; });
  for (const RunLine& run : table.runs())
    add([&](const std::string& name) { return RunTable::text(run, name); });
  return text;
}

int run(const Arguments& a) {
  if (a.has("json") && a.has("csv"))
    throw Error(ErrorKind::kConfig, "--json and --csv are two forms of the same")
        .allowed("one of them");
  RunTable table(report::find_runs(a.words.empty() ? kDefaultFolder : a.words[0]));
  for (const std::string& condition : a.all("where")) table.keep(condition);
  if (a.values.contains("sort")) table.sort(a.text("sort"), a.has("reverse"));
  std::vector<std::string> keys;
  for (const std::string& key : a.all("key")) keys.push_back(table.resolve(key));
  if (keys.empty()) keys = table.differing_keys();
  if (a.has("json")) {
    print(json_lines(table, keys));
  } else if (a.has("csv")) {
    print(csv(table, keys));
  } else {
    print(table_of(table, keys));
  }
  return 0;
}

}  // namespace

extern const CommandEntry runs_entry;
const CommandEntry runs_entry = {
    "runs",      "a table of runs: state, step, losses, speed, the keys in which they differ",
    "[LOG_DIR]", 1,
    kOptions,    false,
    run};

}  // namespace levanter::commands
