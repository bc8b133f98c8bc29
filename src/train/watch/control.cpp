// What people ask of a run that is under way.
#include "train/watch/control.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "base/strings.h"
#include "text/utf8.h"

namespace levanter::train {

namespace {

constexpr auto kPause = std::chrono::milliseconds(100);
constexpr ControlWord kWords[] = {{"save", "a checkpoint, which takes the latest one's place"},
                                  {"evaluate", "the validation losses"},
                                  {"stop", "a checkpoint, and the end, as a signal has it"}};
constexpr size_t kShown = 40;  ///< bytes of a word that is none
constexpr int64_t kMostBytes = 4096;

/// A word that is none, as people are shown it: bytes that are no UTF-8 as U+FFFD, cut behind a
/// whole character.
std::string shown(std::string_view word) {
  std::string text;
  text::append_mended_utf8(text, word.substr(0, kMostBytes));
  size_t length = std::min(text.size(), kShown);
  const auto inside = [&](size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  while (length > 0 && inside(length)) --length;
  return quote(text.substr(0, length));
}

/// The beginning of a file, in whole lines where it is longer.
std::string beginning_of(const std::string& path) {
  const InputFile file(path);
  std::string text(static_cast<size_t>(std::min(file.size(), kMostBytes)), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  if (file.size() > kMostBytes) text.resize(text.rfind('\n') + 1);  // none: empty
  return text;
}

}  // namespace

std::span<const ControlWord> control_words() { return kWords; }

void ask(const std::string& run_folder, std::string_view word) {
  // At once, so that nothing of others is lost; they may have ended without a line's end.
  LogFile(join_path(run_folder, kControlFile)).append(cat("\n", word, "\n"));
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
    const bool file = !is_stream(taken) && !is_directory(taken);
    std::string text = file ? beginning_of(taken) : "no file";
    if (file && file_size(taken) > kMostBytes)
      say_(cat(kControlFile, ": what is behind ", format_bytes(kMostBytes), " is left out"));
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
  std::string unknown;  // the first
  int64_t others = 0;
  for (const std::string& line : split(take(), '\n')) {
    const std::string_view word = trim(line);
    if (word == "save") {
      requests.save = true;
    } else if (word == "evaluate") {
      requests.evaluate = true;
    } else if (word == "stop") {
      request_stop("the control file");
    } else if (!word.empty()) {
      others += unknown.empty() ? 0 : 1;
      if (unknown.empty()) unknown = shown(word);
    }
  }
  if (unknown.empty()) return;
  std::vector<std::string> known;
  for (const ControlWord& w : kWords) known.emplace_back(w.word);
  say_(cat(kControlFile, ": ", unknown, others > 0 ? cat(" and ", others, " more") : "",
           others > 0 ? " are" : " is", " none of ", join(known, ", ")));
}

}  // namespace levanter::train
