// What people ask of a run that is under way.
#include "train/watch/control.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "base/strings.h"

namespace levanter::train {

namespace {

constexpr auto kPause = std::chrono::milliseconds(100);
constexpr ControlWord kWords[] = {{"save", "a checkpoint, which takes the latest one's place"},
                                  {"evaluate", "the validation losses"},
                                  {"stop", "a checkpoint, and the end, as a signal has it"}};
constexpr size_t kShown = 40;  ///< bytes of a word that is none

}  // namespace

std::span<const ControlWord> control_words() { return kWords; }

void ask(const std::string& run_folder, std::string_view word) {
  const std::string path = join_path(run_folder, kControlFile);
  const std::string before = path_exists(path) ? read_file(path) : "";
  write_file_atomic(path,
                    cat(before, before.empty() || before.ends_with('\n') ? "" : "\n", word, "\n"));
}

Control::Control(const std::string& run_folder, std::function<void(std::string_view)> say)
    : path_(join_path(run_folder, kControlFile)), say_(std::move(say)) {
  if (const std::string old = take(); !old.empty())
    say_(cat(kControlFile, ": what was asked before the run began is left out"));
}

/// The file's text, "" where there is none. It is renamed first, so that no word comes between.
std::string Control::take() {
  const std::string taken = cat(path_, ".taken");
  try {
    if (!path_exists(path_)) return "";
    rename_path(path_, taken);
    std::string text = is_stream(taken) || is_directory(taken) ? "no file" : read_file(taken);
    remove_tree(taken);
    return text.empty() ? "\n" : text;
  } catch (const Error& error) {
    if (!std::exchange(told_, true)) say_(cat(error.message(), "; what it asks is left out"));
    return "";
  }
}

void Control::look(Requests& requests) {
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ < kPause) return;
  looked_ = now;
  for (const std::string& line : split(take(), '\n')) {
    const std::string_view word = trim(line);
    if (word == "save") {
      requests.save = true;
    } else if (word == "evaluate") {
      requests.evaluate = true;
    } else if (word == "stop") {
      request_stop("the control file");
    } else if (!word.empty()) {
      std::vector<std::string> known;
      for (const ControlWord& w : kWords) known.emplace_back(w.word);
      say_(cat(kControlFile, ": ", quote(word.substr(0, kShown)), " is none of ",
               join(known, ", ")));
    }
  }
}

}  // namespace levanter::train
