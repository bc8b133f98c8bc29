// levanter top: a run as it goes, in another terminal.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/command.h"
#include "record/run_record.h"
#include "report/live.h"
#include "train/watch/control.h"

namespace levanter::commands {

namespace {

constexpr size_t kDefaultColumns = 80, kMostColumns = 160;

constexpr Option kOptions[] = {
    {"every", "SECONDS", "between two looks; default 2"},
    {"once", "", "look once"},
    {"ask", "WORD",
     "have the run do something after the step that is under way: save, evaluate, or stop, which "
     "saves and ends it"},
};

size_t columns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return std::min<size_t>(size.ws_col, kMostColumns);
}

/// What cannot be read leaves the view without a curve; the report says why.
report::History metrics_of(const std::string& folder) {
  try {
    return report::read_history(join_path(folder, "metrics.jsonl"));
  } catch (const Error&) {
    return {};
  }
}

/// Whether the record of the start that is under way says that nothing is held out. Where there is
/// none, or it is odd, the run itself answers, in its log.
bool cannot_evaluate(const std::string& folder) {
  const auto record = record::read_record(folder);
  if (!record.is_object()) return false;
  const auto& start = record["starts"].back();
  const auto tokens = start.find("validation_tokens");
  return tokens != start.end() && tokens->is_number_integer() && *tokens == 0;
}

/// Leaves the word where the run looks for it.
int ask_of(const std::string& folder, const std::string& word) {
  std::vector<std::string> known;
  for (const train::ControlWord& w : train::control_words()) known.emplace_back(w.word);
  if (std::find(known.begin(), known.end(), word) == known.end())
    throw Error(ErrorKind::kConfig, cat("--ask ", quote(word), " is nothing that a run does"))
        .allowed(join(known, ", "));
  if (const report::RunLine line = report::read_line(folder); line.state != "running")
    throw Error(ErrorKind::kData, cat(folder, " is not under way: it is ", line.state))
        .hint("only a run that is under way reads what is asked of it");
  if (word == "evaluate" && cannot_evaluate(folder))
    throw Error(ErrorKind::kData,
                cat(folder, " has nothing to evaluate: ", train::kNothingToValidateWith))
        .allowed("save, stop")
        .hint("levanter eval computes the losses of a checkpoint on other texts");
  train::ask(folder, word);
  print(cat("asked for: ", word, "\n"));
  return 0;
}

int run(const Arguments& a) {
  if (a.words.empty() || !report::is_run(a.words[0]))
    throw Error(ErrorKind::kData, a.words.empty() ? "levanter top names no run"
                                                  : cat(a.words[0], " is no run's folder"))
        .allowed("levanter top RUN, such as logs/char");
  const std::string& folder = a.words[0];
  if (a.values.contains("ask")) return ask_of(folder, a.text("ask"));
  const std::chrono::duration<double> pause(a.number("every", 2, 0.1, 3600));
  const bool redraws = ::isatty(STDOUT_FILENO) == 1 && !a.has("once");
  for (;;) {
    const report::RunLine line = report::read_line(folder);
    const report::History history = metrics_of(folder);
    const std::string view = join(report::live_view(line, history, columns()), "\n");
    print(cat(redraws ? "\x1b[H\x1b[2J" : "", view, "\n"));
    if (!redraws || line.state != "running") return 0;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

extern const CommandEntry top_entry;
const CommandEntry top_entry = {
    "top",    "a run as it goes: curve, speed, what is left; once where that is no terminal",
    "RUN",    1,
    kOptions, false,
    run};

}  // namespace levanter::commands
