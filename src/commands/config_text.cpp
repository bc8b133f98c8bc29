// What `levanter config check | print | describe` print.
#include "commands/config_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/strings.h"
#include "compat/hf_folder.h"
#include "config/describe.h"
#include "train/hf/start.h"
#include "train/look.h"
#include "train/config/train_config.h"

namespace levanter::commands {

namespace {

/// What is no fault of a sound config, and should be known all the same: of the folders it names.
std::vector<std::string> notes_of(const TrainConfig& config, Looks looks) {
  std::vector<std::string> notes;
  if (looks == Looks::kNo) return notes;
  const StartFrom& start = config.start_from;
  const std::string folder = start.kind == StartKind::kHf && start.path ? start.path->resolved : "";
  if (!folder.empty()) notes.push_back(compat::changed_since_export(folder));
  notes.push_back(train::changed_tokenizer(config, folder));
  std::erase(notes, "");
  return notes;
}

/// Looks, if it is to, and keeps what was found.
class Checker final : public Inspector {
 public:
  explicit Checker(Looks looks) : looks_(looks) {}

  void inspect(const TrainConfig& config, config::Problems& problems) override {
    if (looks_ == Looks::kYes) train::look(config, problems);
    count = problems.count();
    for (const config::Fault* fault : problems.sorted()) faults.push_back(*fault);
  }

  std::vector<config::Fault> faults;
  size_t count = 0;

 private:
  Looks looks_;
};

nlohmann::ordered_json json_of(const std::string& message, const std::string& place,
                               const std::string& allowed, const std::string& hint) {
  nlohmann::ordered_json object = {{"message", message}};
  for (const auto& [key, text] :
       {std::pair("at", place), std::pair("allowed", allowed), std::pair("hint", hint)})
    if (!text.empty()) object[key] = text;
  return object;
}

}  // namespace

std::string config_check_json(const std::string& path, std::span<const std::string> overrides,
                              Looks looks, bool& ok) {
  Checker checker(looks);
  nlohmann::ordered_json report = {{"ok", true}, {"config", path}};
  try {
    const TrainConfig config = load_train_config(path, overrides, &checker);
    report["model"] = config.model.type;
    if (config.trainer.num_train_epochs)
      report["num_train_epochs"] = *config.trainer.num_train_epochs;
    else
      report["num_train_steps"] = config.trainer.num_train_steps;
    report["train_batch_size"] = config.trainer.train_batch_size;
    report["max_seq_len"] = config.model->max_seq_len;
    report["microbatch_size"] = config.microbatch_size();
    if (const auto notes = notes_of(config, looks); !notes.empty()) report["notes"] = notes;
  } catch (const Error& error) {
    report["ok"] = false;
    report["count"] = std::max<size_t>(checker.count, 1);
    report["faults"] = nlohmann::ordered_json::array();
    for (const config::Fault& f : checker.faults)
      report["faults"].push_back(json_of(f.message(), f.place(), f.allowed_values(), f.advice()));
    if (checker.faults.empty())  // it could not be read
      report["faults"].push_back(json_of(error.message(), error.at(), "", error.hint()));
  }
  ok = report["ok"];
  return report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string config_check(const std::string& path, std::span<const std::string> overrides,
                         Looks looks) {
  Checker checker(looks);
  const TrainConfig config = load_train_config(path, overrides, &checker);
  const TrainerConfig& trainer = config.trainer;
  const std::string length = trainer.num_train_epochs
                                 ? cat(format_number(*trainer.num_train_epochs),
                                       *trainer.num_train_epochs == 1 ? " epoch" : " epochs")
                                 : count_of(trainer.num_train_steps, "step");
  std::string text = cat(path.empty() ? "the defaults" : path, ": ", config.model.type, ", ",
                         length, " of ", count_of(config.trainer.train_batch_size, "sequence"),
                         " of ", count_of(config.model->max_seq_len, "token"),
                         ", in microbatches of ", format_count(config.microbatch_size()), "\n");
  for (const std::string& note : notes_of(config, looks)) text += note + "\n";
  return text;
}

std::string config_print(const std::string& path, std::span<const std::string> overrides) {
  return print_config(load_train_config(path, overrides));
}

std::string config_describe(const std::string& key) {
  const std::vector<config::Described> keys = config::describe(config::type_of<TrainConfig>());
  const bool tag = key.ends_with(".type");  // described with the choice that it makes
  const std::string text = config::describe_text(keys, tag ? key.substr(0, key.size() - 5) : key);
  if (!text.empty()) return text;
  std::vector<std::string> names, last_parts;
  for (const config::Described& described : keys) {
    names.push_back(described.key);
    last_parts.push_back(described.key.substr(described.key.rfind('.') + 1));
  }
  Error error(ErrorKind::kConfig, cat(quote(key), " is not a key"));
  if (const std::string near = nearest(key, names); !near.empty())
    throw std::move(error).hint(cat("the nearest key is ", near));
  const std::string near = nearest(key, last_parts);  // "warmup" for "optimizer.warmup"
  for (size_t i = 0; i < names.size(); ++i)
    if (last_parts[i] == near) throw std::move(error).hint(cat("the nearest key is ", names[i]));
  throw std::move(error).hint("levanter config describe lists all keys");
}

std::string key_called(const std::string& name) {
  for (const config::Described& described : config::describe(config::type_of<TrainConfig>()))
    if (described.key.find('<') == std::string::npos && described.key.ends_with(cat(".", name)))
      return described.key;
  return "";
}

namespace {

/// The entry of a key; of a choice's, that of the one taken where none is named.
const config::Described& entry_of(const std::vector<config::Described>& all, std::string_view key) {
  const std::string_view owner = key.substr(0, key.rfind('.'));
  std::string standard;
  for (const config::Described& d : all)
    if (d.key == owner && !d.choices.empty()) standard = d.choices[0].name;
  const auto is_standard = [&](const std::string& name) { return trim(name) == standard; };
  const auto found = std::find_if(all.begin(), all.end(), [&](const config::Described& d) {
    if (d.key != key) return false;
    const std::vector<std::string> variants = split(d.variant, ',');
    return d.variant.empty() || std::any_of(variants.begin(), variants.end(), is_standard);
  });
  LEV_CHECK(found != all.end(), cat("help names ", key, ", which is no key"));
  return *found;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> often_set_keys() {
  static constexpr std::string_view kOften[] = {
      "trainer.num_train_steps", "trainer.train_batch_size",
      "optimizer.learning_rate", "trainer.seed",
      "trainer.log_dir",         "trainer.id",
      "trainer.device",          "trainer.threads"};
  const std::vector<config::Described> all = config::describe(config::type_of<TrainConfig>());
  std::vector<std::pair<std::string, std::string>> rows;
  for (const std::string_view key : kOften) {
    const config::Described& found = entry_of(all, key);
    const bool none = found.standard.empty() || found.standard == "none";
    rows.emplace_back(cat("--", key),
                      cat(found.meaning, none ? "" : "; default ", none ? "" : found.standard));
  }
  return rows;
}

std::string config_page() {
  return cat(
      "# Configuration\n\n"
      "A config is a TOML file: `levanter train --config run.toml`. Any key can be set on the "
      "command "
      "line too, as\n`--trainer.seed=1` or `--trainer.seed 1`. `include = [\"base.toml\"]` at the "
      "top "
      "reads other files first; tables\nmerge, lists are replaced. A path in a file is relative to "
      "that file, one on the command line to the working\ndirectory. `levanter config check` finds "
      "every fault of a config, `levanter config print` shows it with all\nvalues filled in, and "
      "`levanter config describe KEY` explains a key.\n\n"
      "This page is generated from the program (`tests/commands/config_test.cpp`).\n",
      config::describe_markdown(config::describe(config::type_of<TrainConfig>())));
}

}  // namespace levanter::commands
