// The command line: CLI11 sorts the words, fed from the tables of options. What sets keys of the
// configuration is taken out first, for no table lists those.
#include "commands/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/config_text.h"

namespace levanter::commands {

namespace {

/// Letters of options that are typed often, the same in every command; -h and -V are not listed.
constexpr std::pair<char, std::string_view> kLetters[] = {
    {'f', "config"}, {'m', "checkpoint"}, {'t', "tokenizer"},      {'o', "out"},
    {'j', "json"},   {'p', "prompt"},     {'n', "max-new-tokens"},
};

/// The option's letter, or 0.
char letter_of(const Option& option) {
  for (const auto& [letter, name] : kLetters)
    if (name == option.name) return letter;
  return 0;
}

bool is_flag(const Option& option) { return *option.value == '\0'; }

const Option* find_option(std::span<const Option> options, std::string_view name) {
  const auto found =
      std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == name; });
  return found == options.end() ? nullptr : &*found;
}

std::vector<std::string> names_of(std::span<const CommandEntry> commands) {
  std::vector<std::string> names;
  for (const CommandEntry& command : commands) names.emplace_back(command.name);
  return names;
}

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

[[noreturn]] void refuse_command(const CommandEntry& command, const std::string& word) {
  const bool plain = std::string_view(command.does) == "do";
  throw Error(ErrorKind::kConfig, cat("levanter ", command.name, " cannot ",
                                      plain ? "" : cat(command.does, " "), quote(word)))
      .allowed(join(names_of(command.commands), ", "));
}

/// Sorts the words after a command's name into its Arguments.
class Parser final {
 public:
  Parser(const CommandEntry& command, std::span<const std::string> words)
      : command_(command),
        options_(command.options.begin(), command.options.end()),
        takes_overrides_(command.overrides) {
    for (const CommandEntry& sub : command.commands) {
      takes_overrides_ |= sub.overrides;
      for (const Option& option : sub.options)
        if (!find_option(options_, option.name)) options_.push_back(option);
    }
    take_overrides(words);
  }

  CommandLine parse() {
    CLI::App app;
    // What stands before a subcommand's name may belong to it.
    declare(app, options_);
    app.require_subcommand(0, 1);
    for (const CommandEntry& sub : command_.commands)
      declare(*app.add_subcommand(sub.name, ""), sub.options);
    std::vector<std::string> backwards(words_.rbegin(), words_.rend());
    try {
      app.parse(backwards);
    } catch (const CLI::CallForHelp&) {
      choose(app);
      return {nullptr, {}, help_text(command_, sub_)};
    } catch (const CLI::ArgumentMismatch&) {
      refuse_without_value();
    }
    choose(app);
    take_words(app);
    for (const Option& option : options_) take(option, app);
    check_needs();
    return {&target(), std::move(arguments_), ""};
  }

 private:
  static void declare(CLI::App& app, std::span<const Option> options) {
    app.set_help_flag("-h,--help");
    app.allow_extras();  // our own errors say more about them
    for (const Option& option : options) {
      std::string names = cat("--", option.name);
      if (const char letter = letter_of(option)) names += cat(",-", letter);
      if (is_flag(option))
        app.add_flag(names);
      else
        app.add_option(names)->take_all();
    }
  }

  const CommandEntry& target() const { return sub_ ? *sub_ : command_; }
  std::string called() const {
    return cat("levanter ", command_.name, sub_ ? " " : "", sub_ ? sub_->name : "");
  }
  std::string see_help() const { return cat(called(), " --help lists the options"); }

  // Before CLI11.

  const Option* by_letter(char letter) const {
    const auto found = std::find_if(options_.begin(), options_.end(),
                                    [&](const Option& o) { return letter_of(o) == letter; });
    return found == options_.end() ? nullptr : &*found;
  }

  /// Whether a word such as "-jf" ends in an option whose value is the next word.
  bool wants_value(std::string_view letters) const {
    for (size_t i = 1; i < letters.size(); ++i) {
      const Option* option = by_letter(letters[i]);
      if (!option) return false;
      if (!is_flag(*option)) return i + 1 == letters.size();
    }
    return false;
  }

  /// Moves overrides and what follows "--" out of the words that CLI11 reads, values of options
  /// apart, which are whatever they are.
  void take_overrides(std::span<const std::string> words) {
    for (size_t i = 0; i < words.size(); ++i) {
      const std::string& word = words[i];
      if (word == "--") {
        ended_ = true;
        last_words_.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
        return;
      }
      const bool has_next = i + 1 < words.size();
      if (!word.starts_with("--")) {
        words_.push_back(word);
        if (word.starts_with('-') && wants_value(word) && has_next) words_.push_back(words[++i]);
        continue;
      }
      const size_t equals = word.find('=');
      const bool has_value = equals != std::string::npos;
      const std::string name = word.substr(2, has_value ? equals - 2 : equals);
      if (const Option* option = find_option(options_, name)) {
        if (is_flag(*option) && has_value)
          throw Error(ErrorKind::kConfig, cat("--", name, " takes no value")).at(word);
        words_.push_back(cat("--", name));
        if (has_value)
          words_.push_back(word.substr(equals + 1));  // "" is a value too
        else if (!is_flag(*option) && has_next)
          words_.push_back(words[++i]);
        continue;
      }
      const bool next = !has_value && has_next && !words[i + 1].starts_with("--");
      if (!is_key(name, next || has_value)) {
        words_.push_back(word);
        continue;
      }
      arguments_.overrides.push_back(word);
      if (next) arguments_.overrides.push_back(words[++i]);
    }
  }

  /// A key of the configuration has a dot, or else a whole table for its value.
  bool is_key(const std::string& name, bool with_value) const {
    if (!takes_overrides_ || name.empty() || name == "help") return false;
    return name.find('.') != std::string::npos ||
           (with_value && nearest_option(options_, name).empty());
  }

  static std::string nearest_option(std::span<const Option> options, const std::string& name) {
    std::vector<std::string> names = {"help"};
    for (const Option& option : options) names.emplace_back(option.name);
    return nearest(name, names);
  }

  // After CLI11.

  void choose(const CLI::App& app) {
    for (const CLI::App* parsed : app.get_subcommands())
      for (const CommandEntry& sub : command_.commands)
        if (parsed->get_name() == sub.name) sub_ = &sub;
  }

  void take_words(const CLI::App& app) {
    std::vector<std::string>& words = arguments_.words;
    for (const std::string& word : app.remaining(true)) {
      if (word.size() > 1 && word.starts_with('-')) refuse_option(word);
      words.push_back(word);
    }
    words.insert(words.end(), last_words_.begin(), last_words_.end());
    if (!target().run) {
      if (!words.empty()) refuse_command(command_, words[0]);
      throw Error(ErrorKind::kConfig, cat(called(), " needs a word for what to ", command_.does))
          .allowed(join(names_of(command_.commands), ", "));
    }
    const auto most = static_cast<size_t>(target().max_words);
    if (ended_ && most == 0)
      throw Error(ErrorKind::kConfig, cat(called(), " has no option --, for it takes no words"))
          .hint(see_help());
    if (words.size() > most) refuse_word(words[most]);
    if (sub_) words.insert(words.begin(), sub_->name);
    if (!target().overrides && !arguments_.overrides.empty())
      refuse_option(arguments_.overrides[0]);
  }

  void take(const Option& option, const CLI::App& app) {
    const std::string name = cat("--", option.name);
    std::vector<std::string> given = app.get_option(name)->results();
    if (sub_)
      if (const CLI::Option* own = app.get_subcommand(sub_->name)->get_option_no_throw(name))
        given.insert(given.end(), own->results().begin(), own->results().end());
    if (given.empty()) return;
    if (!find_option(target().options, option.name))
      refuse_option(name, is_flag(option) ? name : cat(name, " ", given[0]));
    if (is_flag(option)) {
      arguments_.flags.emplace_back(option.name);
      return;
    }
    for (const std::string& value : given)
      if (value.empty() && !option.may_be_empty)
        throw Error(ErrorKind::kConfig, cat(name, " is empty"))
            .allowed(cat(name, " ", option.value));
    if (!option.repeats && given.size() > 1)
      throw Error(ErrorKind::kConfig, cat(name, " is given twice"))
          .at(cat(name, " ", given[1]))
          .hint("keep one of the two");
    if (option.repeats)
      arguments_.lists[option.name] = given;
    else
      arguments_.values[option.name] = given[0];
  }

  bool given(const std::string& name) const {
    return arguments_.has(name) || arguments_.values.contains(name) ||
           arguments_.lists.contains(name);
  }

  void check_needs() const {
    for (const Option& option : target().options) {
      if (option.required && !given(option.name) && !given(option.otherwise))
        throw Error(ErrorKind::kConfig, cat(called(), " needs --", option.name, " ", option.value))
            .hint(cat(option.name, ": ", option.help));
      if (*option.with && given(option.name) && !given(option.with))
        throw Error(ErrorKind::kConfig,
                    cat(called(), " reads --", option.name, " with --", option.with, " alone"))
            .at(cat("--", option.name))
            .hint(cat("add --", option.with, ", or leave --", option.name, " out"));
    }
  }

  [[noreturn]] void refuse_without_value() const {
    const std::string& last = words_.back();
    const Option* option = last.starts_with("--") ? find_option(options_, last.substr(2))
                                                  : by_letter(last.empty() ? 0 : last.back());
    LEV_CHECK(option, "only the last word can lack a value");
    throw Error(ErrorKind::kConfig, cat("--", option->name, " has no value"))
        .allowed(cat("--", option->name, " ", option->value));
  }

  [[noreturn]] void refuse_option(const std::string& word, std::string place = "") const {
    const std::string option = split(word, '=')[0];
    const std::string name = option.substr(std::min<size_t>(2, option.size()));
    throw Error(ErrorKind::kConfig, cat(called(), " has no option ", option))
        .at(place.empty() ? word : place)
        .hint(instead_of(name));
  }

  /// What to write instead of an option that the command does not have.
  std::string instead_of(const std::string& name) const {
    const std::string key = target().overrides ? key_called(name) : "";
    const bool deep = std::count(key.begin(), key.end(), '.') > 1;  // in a table of a table
    if (!key.empty() && !deep) return cat("did you mean --", key);
    for (const CommandEntry& sub : command_.commands)
      if (find_option(sub.options, name))
        return cat("it is an option of levanter ", command_.name, " ", sub.name);
    if (!key.empty()) return cat("did you mean --", key);
    const std::string near = nearest_option(target().options, name);
    return near.empty() ? see_help() : cat("did you mean --", near);
  }

  [[noreturn]] void refuse_word(const std::string& word) const {
    std::string hint = see_help();
    if (word.ends_with(".toml") && find_option(target().options, "config"))
      hint = cat("a configuration: --config ", word);
    else if (is_directory(word) && find_option(target().options, "checkpoint"))
      hint = cat("a checkpoint: --checkpoint ", word);
    else if (target().overrides)
      hint = "a key of the configuration is set as --trainer.seed=1";
    throw Error(ErrorKind::kConfig,
                cat("levanter ", command_.name, " does not take the word ", quote(word)))
        .allowed(*command_.words ? command_.words : "options alone")
        .hint(hint);
  }

  const CommandEntry& command_;
  const CommandEntry* sub_ = nullptr;
  std::vector<Option> options_;  ///< the command's and its subcommands'
  bool takes_overrides_;
  std::vector<std::string> words_;       ///< for CLI11
  std::vector<std::string> last_words_;  ///< after "--"
  bool ended_ = false;
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

/// `levanter help`, of the command and its command that are named, if any.
std::string help_on(std::span<const std::string> words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h") return help_text();
  const CommandEntry& command = find_command(words[0]);
  if (words.size() == 1) return help_text(command);
  for (const CommandEntry& sub : command.commands)
    if (words.size() == 2 && words[1] == sub.name) return help_text(command, &sub);
  if (!command.commands.empty() && words.size() == 2) refuse_command(command, words[1]);
  throw Error(ErrorKind::kConfig, cat("levanter help does not take the word ", quote(words.back())))
      .allowed("levanter help [COMMAND [WORD]]");
}

}  // namespace

CommandLine parse_command_line(std::span<const std::string> words) {
  if (words.empty()) throw Error(ErrorKind::kConfig, "no command is given").hint("levanter --help");
  if (words[0] == "--help" || words[0] == "-h") return {nullptr, {}, help_text()};
  if (words[0] == "help") return {nullptr, {}, help_on(words.subspan(1))};
  return Parser(find_command(words[0]), words.subspan(1)).parse();
}

std::string help_text() {
  Rows commands;
  for (const CommandEntry* entry : entries()) commands.emplace_back(entry->name, entry->summary);
  commands.emplace_back("help", "what a command takes: levanter help bench gemm");
  return cat(
      "levanter: trains language models\n\nusage: levanter COMMAND [options]\n\n", table(commands),
      "\n",
      table({{"--help, -h", "this text; after a command, what that command takes"},
             {"--version, -V",
              "the program's version, what it was built from and by; with --json as JSON"}}),
      "\nExit codes: 0 done; 2 configuration or command line, 3 data, 4 checkpoint, 5 device or "
      "memory,\n6 files, 7 training's own guard, 75 stopped by a signal after saving (the same "
      "command goes on),\n70 a defect of levanter.\n");
}

std::string help_text(const CommandEntry& command, const CommandEntry* sub) {
  const CommandEntry& target = sub ? *sub : command;
  const std::string called = cat("levanter ", command.name, sub ? cat(" ", sub->name) : "");
  std::string usage = cat("usage: ", called);
  if (*target.words) usage += cat(" ", target.words);
  bool about_a_run = false;
  Rows rows, commands;
  for (const CommandEntry& c : target.commands) commands.emplace_back(c.name, c.summary);
  for (const Option& option : target.options) {
    std::string name = cat("--", option.name);
    const std::string value = cat(*option.value ? " " : "", option.value);
    if (option.required) usage += cat(" ", name, value);
    about_a_run |= option.required && std::string_view(option.name) == "config";
    if (const char letter = letter_of(option)) name += cat(", -", letter);
    rows.emplace_back(cat(name, value), option.help);
  }
  rows.emplace_back("--help, -h", "this text");
  usage += target.overrides ? " [options] [--key=value ...]" : " [options]";
  std::string text = cat(called, ": ", target.summary, "\n\n", usage, "\n\n");
  if (!commands.empty()) text += cat(table(commands), "\n");
  text += table(rows);
  if (!commands.empty())
    text += cat("\nlevanter help ", command.name, " ", commands[0].first,
                " lists what that word takes, and so on.\n");
  if (!target.overrides) return text;
  text += "\nEvery key of the configuration is an option too, as --key=value or --key value";
  text += about_a_run ? cat(":\n\n", table(often_set_keys()), "\n") : ".\n";
  return text + "levanter config describe explains all of them, or the one that is named.\n";
}

}  // namespace levanter::commands
