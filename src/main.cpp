// The program: runs the command that the command line names, prints errors, sets the exit code.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/limits.h"
#include "base/stop.h"
#include "base/strings.h"
#include "commands/command_line.h"
#include "dist/launcher.h"
#include "record/build.h"

namespace {

using levanter::Error;
using levanter::ErrorKind;
using levanter::dist::Launched;

/// Fills closed standard streams, so that no file of ours gets their numbers and is written to by
/// what was meant for the console. Reading and writing them fails as before.
void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/// Says that memory ran out, if need be in words that take none.
int say_out_of_memory() noexcept {
  try {
    std::fprintf(stderr, "%s\n", levanter::out_of_memory().what());
  } catch (const std::bad_alloc&) {
    std::fputs("error: memory ran out\n", stderr);
  }
  return static_cast<int>(ErrorKind::kDevice);
}

/// error  for a command that a launcher's processes would do once each, at the same places
void require_ranks(const levanter::commands::CommandEntry& command, const Launched& launched) {
  if (command.by_ranks) return;
  throw Error(ErrorKind::kConfig, levanter::cat("levanter ", command.name, " is one process, and ",
                                                launched.launcher, " has started ", launched.ranks))
      .hint("start it without the launcher, or as one process of it");
}

int print_version(std::span<const std::string> words) {
  const bool json = words.size() == 1 && (words[0] == "--json" || words[0] == "-j");
  if (!json && !words.empty())
    throw Error(ErrorKind::kConfig,
                levanter::cat("levanter --version cannot take ", levanter::quote(words[0])))
        .allowed("--json");
  const levanter::record::Build build = levanter::record::this_build();
  levanter::commands::print(json ? json_of(build) : describe(build));
  return 0;
}

int run(std::span<const std::string> words) {
  namespace commands = levanter::commands;
  if (words.empty()) {
    std::fputs(commands::help_text().c_str(), stderr);
    return static_cast<int>(ErrorKind::kConfig);
  }
  if (words[0] == "--version" || words[0] == "-V") return print_version(words.subspan(1));
  const Launched launched = levanter::dist::read_launched();
  commands::CommandLine line;
  try {
    line = commands::parse_command_line(words);
    if (line.command && launched.ranks > 1) require_ranks(*line.command, launched);
  } catch (const Error& error) {
    // All processes of a launcher find the same, and the first of them tells it.
    if (launched.rank == 0) throw;
    levanter::dist::let_first_rank_tell();
    return static_cast<int>(error.kind());
  }
  if (line.command) return line.command->run(line.arguments);
  if (launched.rank == 0) commands::print(line.text);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  levanter::prepare_for_memory_limits();
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is an error like a full disk, and said
  try {
    levanter::watch_for_stops();
    const std::vector<std::string> words(argv + (argc > 0), argv + argc);
    return run(words);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.kind());
  } catch (const std::bad_alloc&) {
    return say_out_of_memory();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n  hint     this is a defect of levanter; please report it\n",
                 error.what());
    return static_cast<int>(ErrorKind::kInternal);
  }
}
