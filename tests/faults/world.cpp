#include "faults/world.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace levanter::faults {

namespace {

constexpr int64_t kTextBytes = 24'000;
constexpr size_t kNamed = 3;  ///< differences that a verdict lists

/// Counts that follow from the work done and not from the clock.
bool is_clock(std::string_view name) {
  if (name == "throughput/total_tokens" || name == "throughput/total_gflops") return false;
  return name.starts_with("throughput/") || name == "time" || name.ends_with("_time");
}

/// An object's members but for times, in order of their names; the text itself if it is no object.
std::string without_clocks(std::string_view text) {
  auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return cat("not JSON: ", text.substr(0, 80));
  for (auto member = object.begin(); member != object.end();)
    member = is_clock(member.key()) ? object.erase(member) : std::next(member);
  return object.dump();
}

/// What summary.json says of the end. A run that is killed between its last checkpoint and its
/// summary does no step afterwards, and has that step's other metrics in metrics.jsonl alone.
std::string results(std::string_view text) {
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return cat("not JSON: ", text.substr(0, 80));
  std::string all;
  for (const char* name : {"params_hash", "global_step", "eval/loss", "best/eval/loss",
                           "best/eval/loss_step", "parameter_count"})
    all += cat(name, " ", object.value(name, nlohmann::json()).dump(), "\n");
  return all;
}

/// What run.json says of the run however often it was started: with what, and how it ended.
std::string record_of(std::string_view text) {
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || object.value("starts", nlohmann::json::array()).empty())
    return cat("no record: ", text.substr(0, 80));
  const nlohmann::json& last = object["starts"].back();
  std::string all = object.value("id", "") + "\n";
  for (const char* name : {"config_hash", "data", "numerics", "outcome", "last_step"})
    all += cat(name, " ", last.value(name, nlohmann::json()).dump(), "\n");
  return all;
}

/// Of a page, which shows times, that it is whole.
std::string whole_page(std::string_view text) {
  return trim(text).ends_with("</html>") ? "a whole page" : "not a whole page";
}

/// A manifest but for what it says of the best weights, and for its seal.
std::string without_best(std::string_view text) {
  auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return cat("not JSON: ", text.substr(0, 80));
  object.erase("xxh3");
  for (const char* name : {"kept_step", "kept_loss"}) object["extra"].erase(name);
  return object.dump();
}

/// What of a file has to be the same.
std::string essence(const std::string& path, bool best_is_sure) {
  const std::string text = read_file(path), name = file_name(path);
  if (name == "manifest.json" && !best_is_sure) return without_best(text);
  if (name == "summary.json") return results(text);
  if (name == "run.json") return record_of(text);
  if (name == "report.html") return whole_page(text);
  if (name != "metrics.jsonl") return text;
  std::string lines;
  for (const std::string& line : split(trim(text), '\n')) lines += without_clocks(line) + "\n";
  return lines;
}

/// Locks hold a process's number, event files are made anew by every start, ranks' logs have times.
bool counts(std::string_view path) {
  return path.find("/ranks/rank-") == std::string_view::npos && file_name(path) != "lock" &&
         !path.ends_with(".lock") && path.find("tensorboard/") == std::string_view::npos;
}

/// How two texts of lines differ, for metrics.jsonl.
std::string compare_lines(const std::string& base, const std::string& found) {
  const std::vector<std::string> a = split(base, '\n'), b = split(found, '\n');
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (a[i] != b[i]) return cat("line ", i + 1, " is ", b[i].substr(0, 120));
  return cat("it has ", b.size() - 1, " lines of ", a.size() - 1);
}

void add_files(const std::string& folder, const std::string& prefix,
               std::vector<std::string>& files) {
  const std::vector<std::string> names = list_directory(folder);
  if (names.empty() && !prefix.empty()) files.push_back(prefix);
  for (const std::string& name : names) {
    const std::string path = join_path(folder, name);
    if (is_directory(path))
      add_files(path, cat(prefix, name, "/"), files);
    else
      files.push_back(prefix + name);
  }
}

}  // namespace

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  if (path_exists(folder)) add_files(folder, "", files);
  std::sort(files.begin(), files.end());
  return files;
}

std::string some_text(int64_t bytes, uint64_t seed) {
  static constexpr std::string_view kWords[] = {"the ", "cat ", "sat ",  "on ", "a ",   "mat\n",
                                                "and ", "ran ", "away ", "to ", "see ", "more\n"};
  std::string text;
  for (uint64_t i = 0; static_cast<int64_t>(text.size()) < bytes; ++i)
    text += kWords[random_below(key_from_seed(seed), i, std::size(kWords))];
  return text;
}

std::optional<Verdict> crash(const Ended& ended) {
  if (!ended.crashed()) return std::nullopt;
  return Verdict{Outcome::kCrash, ended.words()};
}

std::string params_hash(const Lab& lab, const std::string& folder, const std::string& run_folder) {
  const Ended ended = run(lab, folder, {"verify", "--checkpoint", run_folder});
  const size_t at = ended.output.rfind("params_hash");
  return ended.code != 0 || at == std::string::npos
             ? "none: " + ended.words()
             : ended.output.substr(at, ended.output.find('\n', at) - at);
}

World::World(const Lab& lab, Recipe recipe)
    : lab_(lab), recipe_(std::move(recipe)), base_(join_path(lab.folder, recipe_.name)) {
  remove_tree(base_);
  remove_tree(lab.trial());
  make();
  Process process = train();
  const Ended ended = process.wait();
  seconds_ = process.seconds();
  LEV_CHECK(ended.code == 0, cat("undisturbed, the program ends well: ", ended.words()));
  rename_path(lab_.trial(), base_);
}

void World::make() const {
  const std::string folder = lab_.trial(), tokenizer = join_path(lab_.folder, "tokenizer");
  make_directories(folder);
  write_file_atomic(join_path(folder, "a.txt"), some_text(kTextBytes, 1));
  std::string records;
  for (uint64_t i = 0; i < 20; ++i)
    records += cat("{\"text\": ", quote(some_text(100, i + 2)), "}\n");
  write_file_atomic(join_path(folder, "b.jsonl"), records);
  if (!path_exists(tokenizer)) {
    const Ended ended = faults::run(lab_, folder,
                                    {"tokenizer", "train", "a.txt", "--vocab-size", "270", "--eos",
                                     "<|end|>", "--out", tokenizer});
    LEV_CHECK(ended.code == 0, cat("the tokenizer is learned: ", ended.words()));
  }
  std::filesystem::copy(tokenizer, join_path(folder, "tokenizer"));
  write_file_atomic(
      join_path(folder, "run.toml"),
      cat(R"(hf_save_path = "out/hf"
hf_save_steps = )",
          recipe_.steps_per_save, R"(

[model]
type = "gpt2"
)",
          recipe_.model, R"(
[data]
tokenizer = { type = "hf", path = "tokenizer" }
cache_dir = "out/cache"

[data.components.text]
train = ["a.txt", "b.jsonl"]
validation_fraction = 0.1

[optimizer]
type = "adam"
learning_rate = 1e-3

[trainer]
)",
          recipe_.trainer, R"(num_train_steps = )", recipe_.steps, R"(
train_batch_size = 4
steps_per_eval = )",
          std::max<int64_t>(1, recipe_.steps / 4), R"(
max_eval_batches = 4
log_dir = "out/logs"
id = "r"
checkpointer = { save_interval = ")",
          recipe_.save_interval, R"(", keep = [{ every = )", recipe_.steps_per_save, " }] }\n"));
}

Process World::train(std::vector<std::string> environment) const {
  std::vector<std::string> words = {"train", "--config", "run.toml"};
  if (recipe_.launcher.empty())
    return Process(lab_, lab_.trial(), std::move(words), std::move(environment));
  Lab launching = lab_;
  launching.program = recipe_.launcher[0];
  words.insert(words.begin(), lab_.program);
  words.insert(words.begin(), recipe_.launcher.begin() + 1, recipe_.launcher.end());
  return Process(launching, lab_.trial(), std::move(words), std::move(environment));
}

Verdict World::judge(const std::vector<std::string>& but) const {
  const std::string theirs = join_path(lab_.trial(), "out"), ours = join_path(base_, "out");
  std::map<std::string, std::pair<bool, bool>> files;  // in the base, in the trial
  for (const std::string& file : files_below(ours)) files[file].first = true;
  for (const std::string& file : files_below(theirs)) files[file].second = true;
  Outcome outcome = Outcome::kSurvived;
  std::vector<std::string> differences;
  for (const auto& [file, where] : files) {
    const auto begins = [&file = file](const std::string& start) {
      return file.starts_with(start);
    };
    if (!counts(file) || std::any_of(but.begin(), but.end(), begins)) continue;
    if (!where.second && file_name(file) == "plan.json") continue;  // says so, and needs it not
    if (!where.second) {
      differences.push_back(file + " is missing");
    } else if (!where.first) {
      differences.push_back(file + " is left over");
    } else {
      const std::string a = essence(join_path(ours, file), recipe_.best_is_sure);
      const std::string b = essence(join_path(theirs, file), recipe_.best_is_sure);
      if (a == b) continue;
      const bool is_metrics = file_name(file) == "metrics.jsonl";
      differences.push_back(cat(file, is_metrics ? ": " + compare_lines(a, b) : " differs"));
      if (!is_metrics || a.size() == b.size()) outcome = Outcome::kSilent;
    }
    if (outcome == Outcome::kSurvived) outcome = Outcome::kLost;
  }
  const size_t more = differences.size() - std::min(differences.size(), kNamed);
  differences.resize(differences.size() - more);
  return {outcome, cat(join(differences, "; "), more ? cat("; and ", more, " more") : "")};
}

Verdict World::finish(const std::vector<std::string>& but) const {
  const Ended ended = train().wait();
  if (const auto crashed = crash(ended)) return *crashed;
  if (ended.code != 0) return {Outcome::kLost, "it does not go on: " + ended.words()};
  Verdict verdict = judge(but);
  if (!verdict.good()) verdict.words += "; its last words: " + ended.words();
  return verdict;
}

}  // namespace levanter::faults
