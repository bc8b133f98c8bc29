// What people see while something takes long, on stderr.
#include "commands/progress.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>

#include "base/strings.h"
#include "text/utf8.h"

namespace levanter::commands {

std::string describe(const data::CacheStatus& status) {
  return cat(status.name, ": ", count_of(status.documents, "document"), ", ",
             count_of(status.tokens, "token"));
}

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedraw(100);
constexpr std::chrono::seconds kBetweenPlainLines(60);
constexpr std::chrono::seconds kBetweenLines(10);  ///< of a cache that is waited for, in a file

/// On a terminal in the place of the line before, if that has not ended.
void put_line(const std::string& text, bool ends, bool is_terminal) {
  std::fprintf(stderr, "%s%s%s", is_terminal ? "\r\033[K" : "", text.c_str(), ends ? "\n" : "");
  std::fflush(stderr);
}

/// What is remembered from one report to the next.
class CacheLines final {
 public:
  void show(const data::CacheStatus& status) {
    if (!status.note.empty() && !noted_) {
      line(status.note, true);
      noted_ = true;
    }
    if (!status.maker.empty()) return show_wait(status);
    if (!status.complete && !is_terminal_) return;
    std::string text = describe(status);
    if (status.now.text_bytes > 0 && status.seconds > 0)
      text += cat(
          ", ", format_fixed(static_cast<double>(status.now.text_bytes) / 1e6 / status.seconds, 1),
          " MB/s");
    if (status.complete && status.now.replaced > 0)
      text += cat("; ", text::describe_replaced(status.now.replaced));
    if (status.complete && status.now.bad.count > 0) text += cat("; ", status.now.bad.describe());
    line(text, status.complete);
  }

 private:
  void show_wait(const data::CacheStatus& status) {
    const auto now = Clock::now();
    const std::string who = cat(status.name, ": ", status.maker, " is building this cache");
    if (who != waits_for_) {
      line(cat(who, "; waiting for it"), true);
    } else if (is_terminal_ || now - last_ > kBetweenLines) {
      line(cat(describe(status), " so far, by ", status.maker), !is_terminal_);
    } else {
      return;
    }
    waits_for_ = who;
    last_ = now;
  }
  void line(const std::string& text, bool ends) const { put_line(text, ends, is_terminal_); }

  bool is_terminal_ = isatty(STDERR_FILENO) != 0;
  bool noted_ = false;
  std::string waits_for_;
  Clock::time_point last_ = {};
};

}  // namespace

data::CacheReport cache_progress() {
  return [lines = std::make_shared<CacheLines>()](const data::CacheStatus& status) {
    lines->show(status);
  };
}

ProgressReport phase_progress() {
  const bool is_terminal = isatty(STDERR_FILENO) != 0;
  return [is_terminal, last = Clock::now(), begin = Clock::now(),
          text = ProgressText()](const Progress& progress) mutable {
    const auto now = Clock::now();
    const std::chrono::duration<double> seconds = now - begin;
    const std::string line = text.at(seconds.count(), progress);
    const bool done = progress.fraction() >= 1;
    if (done && is_terminal) put_line("", false, true);
    if (done || now - last < (is_terminal ? kRedraw : kBetweenPlainLines)) return;
    last = now;
    put_line(line, !is_terminal, is_terminal);
  };
}

}  // namespace levanter::commands
