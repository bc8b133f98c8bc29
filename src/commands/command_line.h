// The command line: which command is meant, its options, words and overrides; and the help.
#pragma once

#include <span>
#include <string>

#include "commands/command.h"

namespace levanter::commands {

/// What the user asks for: a command to run, or else a text to print.
struct CommandLine {
  const CommandEntry* command = nullptr;
  Arguments arguments;
  std::string text;  ///< of --help
};

/// Reads the words after the program's name. A word "--name" that is an option of the command is
/// that option, its value after "=" or in the next word, as is "-f" for one with a letter; any
/// other "--name" is an override of the configuration, with its value likewise; what is left, and
/// all after "--", are the command's words. `help` before the command asks for its help too.
/// error  kConfig: an unknown command or option, one of another command, a value missing, given
///        twice or not taken
CommandLine parse_command_line(std::span<const std::string> words);

/// The help of the program.
std::string help_text();
/// The help of one command, or of `sub`, one of its `commands`.
std::string help_text(const CommandEntry& command, const CommandEntry* sub = nullptr);

}  // namespace levanter::commands
