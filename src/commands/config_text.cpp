#include "commands/config_text.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "config/describe.h"
#include "train/train_config.h"

namespace levanter::commands {

std::string config_check(const std::string& path, std::span<const std::string> overrides) {
  const TrainConfig config = load_train_config(path, overrides);
  return cat(path.empty() ? "the defaults" : path, ": ", config.model.type, ", ",
             format_count(config.trainer.num_train_steps), " steps of ",
             format_count(config.trainer.train_batch_size), " sequences of ",
             format_count(config.model->max_seq_len), " tokens, in microbatches of ",
             format_count(config.microbatch_size()), "\n");
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

std::vector<std::pair<std::string, std::string>> often_set_keys() {
  static constexpr std::string_view kOften[] = {
      "trainer.num_train_steps", "trainer.train_batch_size",
      "optimizer.learning_rate", "trainer.seed",
      "trainer.log_dir",         "trainer.id",
      "trainer.device",          "trainer.threads"};
  const std::vector<config::Described> all = config::describe(config::type_of<TrainConfig>());
  std::vector<std::pair<std::string, std::string>> rows;
  for (const std::string_view key : kOften) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const config::Described& d) { return d.key == key; });
    LEV_CHECK(found != all.end(), cat("help names ", key, ", which is no key"));
    const bool none = found->standard.empty() || found->standard == "none";
    rows.emplace_back(cat("--", key),
                      cat(found->meaning, none ? "" : "; default ", none ? "" : found->standard));
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
