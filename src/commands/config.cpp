// levanter config: checks, resolves and documents configurations.
#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "commands/config_text.h"

namespace levanter::commands {

namespace {

constexpr Option kCheckOptions[] = {
    {"config", "FILE", "the configuration to check; or FILE alone"},
    {"offline", "", "look at no text, tokenizer, template or folder that it names"},
    {"json", "", "print one JSON object, with all faults"},
};
constexpr Option kPrintOptions[] = {
    {"config", "FILE", "the configuration to print; or FILE alone"},
};
constexpr Option kDescribeOptions[] = {
    {"page", "", "the whole reference as Markdown"},
};

/// The file that is named by the option or the word; "" for neither.
std::string named_file(const Arguments& a) {
  const std::string word = a.words.size() > 1 ? a.words[1] : "";
  if (!word.empty() && a.values.contains("config"))
    throw Error(ErrorKind::kConfig,
                cat("two configurations are named: ", word, " and ", a.text("config")))
        .hint("keep one of the two");
  return a.text("config", word);
}

int check(const Arguments& a) {
  const std::string file = named_file(a);
  const Looks looks = a.has("offline") ? Looks::kNo : Looks::kYes;
  bool ok = true;
  print(a.has("json") ? config_check_json(file, a.overrides, looks, ok)
                      : config_check(file, a.overrides, looks));
  return ok ? 0 : static_cast<int>(ErrorKind::kConfig);
}

int print_resolved(const Arguments& a) {
  print(config_print(named_file(a), a.overrides));
  return 0;
}

int describe(const Arguments& a) {
  const std::string key = a.words.size() > 1 ? a.words[1] : "";
  if (a.has("page") && !key.empty())
    throw Error(ErrorKind::kConfig, cat("--page shows all keys, not ", key, " alone"))
        .hint("keep one of the two");
  print(a.has("page") ? config_page() : config_describe(key));
  return 0;
}

constexpr CommandEntry kCommands[] = {
    {"check", "find every fault of a configuration", "[FILE]", 1, kCheckOptions, true, check},
    {"print", "show it with includes, overrides and defaults in place", "[FILE]", 1, kPrintOptions,
     true, print_resolved},
    {"describe", "explain a key and those below it, or all keys", "[KEY]", 1, kDescribeOptions,
     false, describe},
};

}  // namespace

extern const CommandEntry config_entry;
const CommandEntry config_entry = {"config",
                                   "validate, resolve or document a configuration",
                                   "check|print|describe [FILE|KEY]",
                                   0,
                                   {},
                                   true,
                                   nullptr,
                                   kCommands};

}  // namespace levanter::commands
