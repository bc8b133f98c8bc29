// A table of runs.
#include "report/run_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <compare>
#include <optional>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace levanter::report {

namespace {

constexpr std::string_view kColumns[] = {
    "run",     "state", "step", "loss", "best_loss", "best_step", "tokens_per_second",
    "started", "ended"};

std::string number_text(double value) { return std::isfinite(value) ? cat(value) : ""; }

std::optional<double> as_number(std::string_view text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Numbers by their value and before texts; nothing comes last.
int compare(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return static_cast<int>(a.empty()) - static_cast<int>(b.empty());
  const auto x = as_number(a), y = as_number(b);
  if (x && y) return static_cast<int>(*x > *y) - static_cast<int>(*x < *y);
  if (x || y) return x ? -1 : 1;
  return a.compare(b);
}

/// A name, a relation and a value.
struct Condition {
  std::string name, relation, value;
};

Error no_condition(std::string_view text) {
  return Error(ErrorKind::kConfig, cat(quote(text), " is no condition"))
      .at("--where")
      .allowed("KEY=VALUE, and !=, <, <=, >, >= in place of =");
}

Condition parse(std::string_view text) {
  const size_t at = text.find_first_of("=!<>");
  if (at == text.npos || at == 0 || (text[at] == '!' && text.substr(at, 2) != "!="))
    throw no_condition(text);
  const size_t size = text[at] != '=' && text.substr(at + 1, 1) == "=" ? 2 : 1;
  if (const std::string_view rest = text.substr(at + size);
      !rest.empty() && std::string_view("=<>").find(rest[0]) != std::string_view::npos)
    throw no_condition(text);
  return {std::string(trim(text.substr(0, at))), std::string(text.substr(at, size)),
          plain_text(trim(text.substr(at + size)))};
}

bool holds(const Condition& c, const std::string& text) {
  if (text.empty()) return c.relation == "!=";
  const int order = compare(text, c.value);
  if (c.relation == "=") return order == 0;
  if (c.relation == "!=") return order != 0;
  if (c.relation == "<") return order < 0;
  if (c.relation == "<=") return order <= 0;
  if (c.relation == ">") return order > 0;
  return order >= 0;
}

}  // namespace

std::span<const std::string_view> columns() { return kColumns; }

RunTable::RunTable(std::vector<RunLine> runs) : runs_(std::move(runs)) {
  std::unordered_set<std::string_view> known;
  for (const RunLine& run : runs_)
    for (const auto& [key, text] : run.config)
      if (known.insert(key).second) keys_.push_back(key);
}

void RunTable::keep(std::string_view condition) {
  Condition c = parse(condition);
  c.name = resolve(c.name);
  std::erase_if(runs_, [&](const RunLine& run) { return !holds(c, text(run, c.name)); });
}

void RunTable::sort(std::string_view name, bool reverse) {
  const std::string column = resolve(name);
  std::stable_sort(runs_.begin(), runs_.end(), [&](const RunLine& a, const RunLine& b) {
    const std::string x = text(a, column), y = text(b, column);
    if (x.empty() || y.empty()) return !x.empty() && y.empty();
    return reverse ? compare(y, x) < 0 : compare(x, y) < 0;
  });
}

std::vector<std::string> RunTable::differing_keys() const {
  std::vector<const Texts*> configs;
  for (const RunLine& run : runs_)
    if (!run.config.empty()) configs.push_back(&run.config);
  return keys_that_differ(configs);
}

std::string RunTable::resolve(std::string_view name) const {
  if (std::find(std::begin(kColumns), std::end(kColumns), name) != std::end(kColumns))
    return std::string(name);
  std::vector<std::string> ends;
  for (const std::string& key : keys_) {
    if (key == name) return key;
    if (key.ends_with(cat(".", name))) ends.push_back(key);
  }
  if (ends.size() == 1) return ends[0];
  Error error(ErrorKind::kConfig, cat("no run has a key ", quote(name)));
  if (ends.size() > 1)
    throw Error(ErrorKind::kConfig, cat("several keys end in ", quote(name)))
        .allowed(join(ends, ", "));
  std::vector<std::string> all(std::begin(kColumns), std::end(kColumns));
  all.insert(all.end(), keys_.begin(), keys_.end());
  const std::string near = nearest(name, all);
  throw std::move(error)
      .allowed(cat(join(std::vector<std::string>(std::begin(kColumns), std::end(kColumns)), ", "),
                   ", or a key of the configs"))
      .hint(near.empty() ? "" : cat("did you mean ", near));
}

std::string RunTable::text(const RunLine& run, std::string_view name) {
  if (name == "run") return run.id;
  if (name == "state") return run.state;
  if (name == "step") return cat(run.step);
  if (name == "loss") return number_text(run.loss);
  if (name == "best_loss") return number_text(run.best_loss);
  if (name == "best_step") return run.best_step < 0 ? "" : cat(run.best_step);
  if (name == "tokens_per_second") return number_text(run.tokens_per_second);
  if (name == "started") return run.started;
  if (name == "ended") return run.ended;
  const std::string* value = find_text(run.config, name);
  return value ? plain_text(*value) : "";
}

std::vector<RunLine> find_runs(const std::string& folder) {
  if (is_run(folder)) return {read_line(folder)};
  std::vector<RunLine> runs;
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name);
    if (is_directory(path) && is_run(path)) runs.push_back(read_line(path));
  }
  if (runs.empty())
    throw Error(ErrorKind::kData, cat("no run is in ", folder))
        .hint("name the folder that trainer.log_dir names");
  return runs;
}

}  // namespace levanter::report
