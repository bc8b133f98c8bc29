// The program: hands the command line to its subcommand, prints errors, sets the exit code.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"

namespace {

using levanter::Error;
using levanter::ErrorKind;
using levanter::commands::Arguments;
using levanter::commands::CommandEntry;
using levanter::commands::Option;

void add_command(CLI::App& app, const CommandEntry& entry, Arguments& arguments,
                 const CommandEntry*& chosen) {
  CLI::App* command = app.add_subcommand(entry.name, entry.summary);
  for (const Option& option : entry.options) {
    const std::string name = levanter::cat("--", option.name);
    if (*option.value == '\0') {
      command->add_flag_callback(
          name, [&arguments, &option] { arguments.flags.emplace_back(option.name); }, option.help);
    } else {
      command
          ->add_option_function<std::string>(
              name,
              [&arguments, &option](const std::string& v) { arguments.values[option.name] = v; },
              option.help)
          ->required(option.required)
          ->type_name(option.value);
    }
  }
  if (*entry.words) command->add_option("words", arguments.words)->type_name(entry.words);
  if (entry.overrides) {
    command->allow_extras();
    command->footer("Every key of the configuration is an option too: --trainer.seed=1");
  }
  command->callback([&chosen, &entry, &arguments, command] {
    chosen = &entry;
    arguments.overrides = command->remaining();
  });
}

int run(int argc, char** argv) {
  CLI::App app("levanter: trains language models", "levanter");
  app.require_subcommand(1);
  app.set_version_flag("--version", "levanter " LEVANTER_VERSION);
  Arguments arguments;
  const CommandEntry* chosen = nullptr;
  for (const CommandEntry* entry : levanter::commands::entries())
    add_command(app, *entry, arguments, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help and version
    throw Error(ErrorKind::kConfig, error.what()).hint("see levanter --help");
  }
  return chosen->run(arguments);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n  hint     this is a defect of levanter; please report it\n",
                 error.what());
    return static_cast<int>(ErrorKind::kInternal);
  }
}
