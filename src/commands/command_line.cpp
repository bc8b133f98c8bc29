#include "commands/command_line.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "commands/config_text.h"

namespace levanter::commands {

namespace {

const CommandEntry& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const CommandEntry* entry : entries()) {
    if (entry->name == name) return *entry;
    names.push_back(entry->name);
  }
  const std::string near = nearest(name, names);
  throw Error(ErrorKind::kConfig, cat("levanter has no command ", quote(name)))
      .allowed(join(names, ", "))
      .hint(near.empty() ? "levanter --help says what each does" : cat("did you mean ", near));
}

/// Sorts the words after a command's name into its Arguments.
class Parser final {
 public:
  Parser(const CommandEntry& command, std::span<const std::string> words)
      : command_(command), words_(words) {}

  CommandLine parse() {
    for (; at_ < words_.size() && !help_; ++at_) {
      const std::string& word = words_[at_];
      if (word.starts_with("--")) {
        option_or_override(word);
      } else if (word == "-h") {
        help_ = true;
      } else if (word.size() > 1 && word.starts_with('-')) {
        refuse_option(word);
      } else {
        arguments_.words.push_back(word);
      }
    }
    if (help_) return {nullptr, {}, help_text(command_)};
    if (arguments_.words.size() > static_cast<size_t>(command_.max_words))
      refuse_word(arguments_.words[static_cast<size_t>(command_.max_words)]);
    for (const Option& option : command_.options)
      if (option.required && !arguments_.values.contains(option.name))
        throw Error(ErrorKind::kConfig, cat(called(), " needs --", option.name, " ", option.value))
            .hint(cat(option.name, ": ", option.help));
    return {&command_, std::move(arguments_), ""};
  }

 private:
  std::string called() const { return cat("levanter ", command_.name); }
  std::string see_help() const { return cat(called(), " --help lists the options"); }

  void option_or_override(const std::string& word) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    if (word == "--help") {
      help_ = true;
      return;
    }
    for (const Option& option : command_.options)
      if (option.name == name) return take(option, equals);
    const bool next = equals == std::string::npos && at_ + 1 < words_.size() &&
                      !words_[at_ + 1].starts_with("--");
    // A key of the configuration has a dot, or else a whole table for its value.
    const bool key = name.find('.') != std::string::npos ||
                     ((next || equals != std::string::npos) && nearest_option(name).empty());
    if (!command_.overrides || !key || name.empty()) refuse_option(word);
    arguments_.overrides.push_back(word);
    if (next) arguments_.overrides.push_back(words_[++at_]);
  }

  std::string nearest_option(const std::string& name) const {
    std::vector<std::string> names = {"help"};
    for (const Option& option : command_.options) names.push_back(option.name);
    return nearest(name, names);
  }

  void take(const Option& option, size_t equals) {
    const std::string& word = words_[at_];
    const bool has_value = equals != std::string::npos;
    if (*option.value == '\0') {
      if (has_value)
        throw Error(ErrorKind::kConfig, cat("--", option.name, " takes no value")).at(word);
      arguments_.flags.emplace_back(option.name);
      return;
    }
    const std::string wanted = cat("--", option.name, " ", option.value);
    if (!has_value && at_ + 1 == words_.size())
      throw Error(ErrorKind::kConfig, cat("--", option.name, " has no value")).allowed(wanted);
    const std::string value = has_value ? word.substr(equals + 1) : words_[++at_];
    if (value.empty() && !option.may_be_empty)
      throw Error(ErrorKind::kConfig, cat("--", option.name, " is empty")).allowed(wanted);
    if (option.repeats) {
      arguments_.lists[option.name].push_back(value);
      return;
    }
    if (!arguments_.values.emplace(option.name, value).second)
      throw Error(ErrorKind::kConfig, cat("--", option.name, " is given twice"))
          .at(cat("--", option.name, " ", value))
          .hint("keep one of the two");
  }

  [[noreturn]] void refuse_option(const std::string& word) const {
    const std::string name = split(word, '=')[0];
    const std::string near = nearest_option(name.substr(std::min<size_t>(2, name.size())));
    throw Error(ErrorKind::kConfig, cat(called(), " has no option ", name))
        .at(word)
        .hint(near.empty() ? see_help() : cat("did you mean --", near));
  }

  [[noreturn]] void refuse_word(const std::string& word) const {
    const std::string hint = word.ends_with(".toml") ? cat("a configuration: --config ", word)
                             : command_.overrides
                                 ? "a key of the configuration is set as --trainer.seed=1"
                                 : see_help();
    throw Error(ErrorKind::kConfig, cat(called(), " does not take the word ", quote(word)))
        .allowed(*command_.words ? command_.words : "options alone")
        .hint(hint);
  }

  const CommandEntry& command_;
  std::span<const std::string> words_;
  size_t at_ = 0;
  bool help_ = false;
  Arguments arguments_;
};

using Rows = std::vector<std::pair<std::string, std::string>>;

/// Two columns, the first as wide as its widest entry.
std::string table(const Rows& rows) {
  size_t width = 0;
  for (const auto& [left, right] : rows) width = std::max(width, left.size());
  std::string text;
  for (const auto& [left, right] : rows)
    text += cat("  ", left, std::string(width + 2 - left.size(), ' '), right, "\n");
  return text;
}

}  // namespace

CommandLine parse_command_line(std::span<const std::string> words) {
  if (words.empty()) throw Error(ErrorKind::kConfig, "no command is given").hint("levanter --help");
  if (words[0] == "--help" || words[0] == "-h") return {nullptr, {}, help_text()};
  return Parser(find_command(words[0]), words.subspan(1)).parse();
}

std::string help_text() {
  Rows commands;
  for (const CommandEntry* entry : entries()) commands.emplace_back(entry->name, entry->summary);
  return cat("levanter: trains language models\n\nusage: levanter COMMAND [options]\n\n",
             table(commands), "\n",
             table({{"--help, -h", "this text; after a command, what that command takes"},
                    {"--version", "the program's version"}}));
}

std::string help_text(const CommandEntry& command) {
  std::string usage = cat("usage: levanter ", command.name);
  if (*command.words) usage += cat(" ", command.words);
  bool about_a_run = false;
  Rows rows;
  for (const Option& option : command.options) {
    const std::string name = cat("--", option.name, *option.value ? " " : "", option.value);
    if (option.required) usage += cat(" ", name);
    about_a_run |= option.required && std::string_view(option.name) == "config";
    rows.emplace_back(name, option.help);
  }
  rows.emplace_back("--help, -h", "this text");
  usage += command.overrides ? " [options] [--key=value ...]" : " [options]";
  std::string text =
      cat("levanter ", command.name, ": ", command.summary, "\n\n", usage, "\n\n", table(rows));
  if (!command.overrides) return text;
  text += "\nEvery key of the configuration is an option too, as --key=value or --key value";
  text += about_a_run ? cat(":\n\n", table(often_set_keys()), "\n") : ".\n";
  return text + "levanter config describe explains all of them, or the one that is named.\n";
}

}  // namespace levanter::commands
