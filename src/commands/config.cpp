// levanter config: checks, resolves and documents configurations.
#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "commands/config_text.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"config", "FILE", "the configuration to check or print"},
    {"page", "", "with describe: the whole reference as Markdown"},
};

int run(const Arguments& a) {
  const std::string verb = a.words.empty() ? "" : a.words[0];
  if (verb == "describe") {
    if (!a.overrides.empty() || a.values.contains("config"))
      throw Error(ErrorKind::kConfig, "config describe reads no configuration")
          .at(a.overrides.empty() ? cat("--config ", a.text("config")) : a.overrides[0])
          .hint("config print shows one with all its values");
    print(a.has("page") ? config_page() : config_describe(a.words.size() > 1 ? a.words[1] : ""));
    return 0;
  }
  if (verb != "check" && verb != "print")
    throw Error(ErrorKind::kConfig, verb.empty() ? "levanter config needs a word for what to do"
                                                 : cat("levanter config cannot ", quote(verb)))
        .allowed("check, print, describe");
  const std::string word = a.words.size() > 1 ? a.words[1] : "";
  if (!word.empty() && a.values.contains("config"))
    throw Error(ErrorKind::kConfig,
                cat("two configurations are named: ", word, " and ", a.text("config")))
        .hint("keep one of the two");
  const std::string file = a.text("config", word);
  print(verb == "check" ? config_check(file, a.overrides) : config_print(file, a.overrides));
  return 0;
}

}  // namespace

extern const CommandEntry config_entry;
const CommandEntry config_entry = {"config",
                                   "validate, resolve or document a configuration",
                                   "check|print|describe [FILE|KEY]",
                                   2,
                                   kOptions,
                                   true,
                                   run};

}  // namespace levanter::commands
