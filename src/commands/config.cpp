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
    print(a.has("page") ? config_page() : config_describe(a.words.size() > 1 ? a.words[1] : ""));
    return 0;
  }
  if (verb != "check" && verb != "print")
    throw Error(ErrorKind::kConfig, cat("levanter config cannot ", quote(verb)))
        .allowed("check, print, describe");
  const std::string file = a.text("config", a.words.size() > 1 ? a.words[1] : "");
  print(verb == "check" ? config_check(file, a.overrides) : config_print(file, a.overrides));
  return 0;
}

}  // namespace

extern const CommandEntry config_entry;
const CommandEntry config_entry = {"config", "validate, resolve or document a configuration",
                                   "check|print|describe [KEY]", kOptions, true, run};

}  // namespace levanter::commands
