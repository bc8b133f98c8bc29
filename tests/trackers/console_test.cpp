// The console: plain lines, and a bar on a terminal.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/strings.h"
#include "support/temporary_folder.h"
#include "trackers/tracker.h"

namespace levanter::trackers {
extern const TrackerEntry console_entry;
}

using namespace levanter;
using Catch::Contains;

namespace {

double clock_seconds = 0;
double test_clock() { return clock_seconds; }

/// A console that writes into a file.
class Console {
 public:
  explicit Console(bool terminal, bool color = false, int64_t total_steps = 1000,
                   TrackerContext context = {}) {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    clock_seconds = 3 * 3600 + 100;
    context.clock = test_clock;
    context.console_fd = fd_ = ::open((folder_ / "out").c_str(), O_RDWR | O_CREAT, 0600);
    context.terminal = terminal;
    context.color = color;
    context.total_steps = total_steps;
    tracker_ = trackers::console_entry.make(TrackerConfig(), context);
  }
  ~Console() { ::close(fd_); }
  Tracker* operator->() { return tracker_.get(); }
  std::string text() const { return read_file(folder_ / "out"); }
  int64_t lines() const {
    const std::string all = text();
    return std::count(all.begin(), all.end(), '\n');
  }

 private:
  testing::TemporaryFolder folder_;
  int fd_ = -1;
  std::unique_ptr<Tracker> tracker_;
};

Metrics training(double loss) {
  return {{"train/loss", loss},
          {"optim/learning_rate", 1e-3},
          {"throughput/tokens_per_second", 12345.4}};
}

}  // namespace

TEST_CASE("a plain line tells step, loss, rate, speed and time left", "[trackers]") {
  Console console(false);
  console->log(training(4.25), 1);
  clock_seconds += 10;
  console->log(training(4.125), 101);
  console->finish();
  CHECK(console.text() ==
        "03:01:40 step 1/1000  0.1%  loss 4.2500  lr 1.00e-03  12,345 tokens/s\n"
        "03:01:50 step 101/1000  10.1%  loss 4.1250  lr 1.00e-03  12,345 tokens/s  eta 1m 30s\n");
}

TEST_CASE("plain lines come at first, then at intervals, and at the end", "[trackers]") {
  Console console(false);
  for (int64_t step = 1; step <= 1000; ++step, clock_seconds += 0.005)
    console->log(training(1), step);
  // Three at first, one a second for five seconds, and the last step.
  CHECK(console.lines() >= 7);
  CHECK(console.lines() <= 9);
  CHECK_THAT(console.text(), Contains("step 1/1000"));
  CHECK_THAT(console.text(), Contains("step 1000/1000  100.0%"));
}

TEST_CASE("an evaluation always has its line, and the best is marked", "[trackers]") {
  Console console(false);
  console->message("resuming from step 9");
  console->log({{"eval/loss", 3}, {"eval/bpb", 4.5}}, 10);
  console->log({{"eval/loss", 3.5}}, 20);
  console->message("saved step 20");
  CHECK(console.text() ==
        "resuming from step 9\n"
        "03:01:40 step 10/1000  eval/loss 3.0000  eval/bpb 4.5000  (best so far)\n"
        "03:01:40 step 20/1000  eval/loss 3.5000\n"
        "03:01:40 saved step 20\n");
  TrackerContext resumed;
  resumed.best_loss = 2.5;
  Console again(false, false, 1000, resumed);
  again->log({{"eval/loss", 3}}, 10);
  CHECK_THAT(again.text(), !Contains("best so far"));
}

TEST_CASE("the time left counts evaluations apart from steps", "[trackers]") {
  TrackerContext context;
  context.steps_per_eval = 100;
  context.steps_of_eval = 20;
  Console console(false, false, 350, context);
  console->log(training(4), 1);
  clock_seconds += 99;
  console->log(training(4), 100);  // 250 steps of 1 s, and evaluations after 100, 200, 300, 350
  CHECK_THAT(console.text(), Contains("step 100/350  28.6%") && Contains("eta 5m 30s"));
  clock_seconds += 60;
  console->log({{"eval/loss", 3}, {"eval/total_time", 60}}, 100);
  clock_seconds += 50;
  console->log(training(4), 150);  // 200 of 1 s, and three times as long as the one before
  CHECK_THAT(console.text(), Contains("step 150/350  42.9%") && Contains("eta 6m 20s"));
}

TEST_CASE("an evaluation shows how far it is", "[trackers]") {
  Console plain(false);
  plain->log(training(4), 100);
  for (int percent = 0; percent < 100; ++percent, ++clock_seconds)
    plain->progress({"evaluating", percent * 20.0, 2000, "token"});
  CHECK(plain.lines() == 3);  // the step, after 10 s, after a minute more
  CHECK_THAT(plain.text(), Contains("step 100/1000  evaluating 10%, 20 tokens/s\n"));
  CHECK_THAT(plain.text(), Contains("step 100/1000  evaluating 70%, 20 tokens/s\n"));

  Console bar(true);
  bar->log(training(4), 100);
  clock_seconds += 1;
  bar->progress({"evaluating", 638, 2000, "token"});
  CHECK_THAT(bar.text(), Contains("] 10.0%  step 100/1000  evaluating 31%"));
  bar->log({{"eval/loss", 3}}, 100);
  bar->finish();
  CHECK(bar.text().rfind("evaluating") < bar.text().rfind("loss 4.0000"));
}

TEST_CASE("what took long has gone from the bar at a message and at the end", "[trackers]") {
  for (const bool has_message : {true, false}) {
    INFO(has_message);
    Console console(true);
    console->log(training(4), 100);
    clock_seconds += 1;
    console->progress({"saving", 2048, 2048, "B"});
    REQUIRE_THAT(console.text(), Contains("step 100/1000  saving 100%"));
    if (has_message) {
      console->message("saved step 100");
      CHECK(console.text().rfind("saving") < console.text().rfind("loss 4.0000"));
    }
    console->finish();
    const std::string text = console.text();
    const std::string last = text.substr(text.rfind("\x1b[K"));
    CHECK_THAT(last, Contains("step 100/1000  loss 4.0000") && !Contains("saving"));
  }
}

TEST_CASE("a terminal shows one line that is redrawn, with evaluations above it", "[trackers]") {
  Console console(true);
  console->log(training(2), 500);
  clock_seconds += 0.01;
  console->log(training(9), 501);  // too soon to be drawn
  clock_seconds += 1;
  console->log({{"eval/loss", 1.5}}, 502);
  console->finish();
  const std::string text = console.text();
  CHECK_THAT(text, Contains("] 50.0%  step 500/1000  loss 2.0000  lr 1.00e-03  12,345 tokens/s"));
  CHECK_THAT(text, Contains("12,345 tokens/s  eta 4m 11s"));  // all of it on 80 columns
  CHECK_THAT(text, !Contains("step 501/1000"));
  CHECK_THAT(text, Contains("\r\x1b[Kstep 502/1000  eval/loss 1.5000  (best so far)\n\r\x1b[K["));
  CHECK(text.ends_with("\n"));
  CHECK_THAT(text, !Contains("\x1b[32m"));
  for (const std::string& line : split(text, '\r')) CHECK(line.size() <= 80 + 4);
}

TEST_CASE("a terminal that shows UTF-8 has the loss as a curve over the run", "[trackers]") {
  TrackerContext context;
  context.unicode = true;
  Console console(true, false, 100, context);
  for (int64_t step = 1; step <= 50; ++step, ++clock_seconds)
    console->log({{"train/loss", 51 - static_cast<double>(step)}, {"throughput/mfu", 41.6}}, step);
  CHECK_THAT(console.text(), Contains("[█"));
  CHECK_THAT(console.text(), Contains("   ] 50.0%  step 50/100  loss 1.0000  eta 50.0 s"));
  CHECK_THAT(console.text(), Contains("  mfu 42%"));
}

TEST_CASE("a narrow terminal leaves out what matters less, and follows a change of its size",
          "[trackers]") {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || ::grantpt(terminal) != 0 || ::unlockpt(terminal) != 0) {
    WARN("skipped: no pseudo-terminal can be had here");
    return;
  }
  const int shown = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY);
  REQUIRE(shown >= 0);
  TrackerContext context;
  context.clock = test_clock;
  context.console_fd = shown;
  context.terminal = true;
  context.total_steps = 1000;
  const auto tracker = trackers::console_entry.make(TrackerConfig(), context);
  const auto line_at = [&](unsigned short columns, int64_t step) {
    winsize size{};
    size.ws_col = columns;
    REQUIRE(::ioctl(shown, TIOCSWINSZ, &size) == 0);
    clock_seconds += 10;
    tracker->log(training(4.25), step);
    char text[512];
    const ssize_t read = ::read(terminal, text, sizeof text);
    const std::string all(text, static_cast<size_t>(std::max<ssize_t>(read, 0)));
    return all.substr(all.rfind("\x1b[K") + 3);
  };
  line_at(80, 10);
  CHECK(line_at(40, 11) == "1.1%  step 11  loss 4.2500  eta 2h 44m");
  CHECK(line_at(60, 12) == "1.2%  step 12  loss 4.2500  eta 2h 44m  12,345 tokens/s");
  CHECK(line_at(12, 13) == "1.3%  step ");
  CHECK_THAT(line_at(120, 14), Contains("loss 4.2500  lr 1.00e-03  12,345 tokens/s  eta "));
  CHECK(line_at(36, 15) == "[>     ] 1.5%  step 15  loss 4.2500");
  ::close(shown);
  ::close(terminal);
}

TEST_CASE("colours appear only where they are allowed", "[trackers]") {
  Console console(true, true);
  console->log({{"eval/loss", 1.5}}, 1);
  CHECK_THAT(console.text(),
             Contains("\x1b[32mstep 1/1000  eval/loss 1.5000  (best so far)\x1b[0m\n"));

  TrackerContext context;
  context.terminal = context.color = true;
  context.console_fd = ::open("/dev/null", O_WRONLY);
  look_at_console(context);
  CHECK_FALSE(context.terminal);
  CHECK_FALSE(context.color);
  ::close(context.console_fd);
}

TEST_CASE("NO_COLOR keeps the bar and drops its colours", "[trackers]") {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) {
    WARN("skipped: no pseudo-terminal can be had here");
    return;
  }
  const char* old_term = std::getenv("TERM");
  const std::string term = old_term ? old_term : "";
  const char* old_color = std::getenv("NO_COLOR");
  const std::string no_color = old_color ? old_color : "";
  TrackerContext context;
  context.console_fd = terminal;
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  look_at_console(context);
  CHECK((context.terminal && context.color));
  ::setenv("NO_COLOR", "1", 1);
  look_at_console(context);
  CHECK((context.terminal && !context.color));
  const char* old_locale = std::getenv("LC_ALL");
  const std::string locale = old_locale ? old_locale : "";
  for (const auto& [name, unicode] : {std::pair("en_US.UTF-8", true),
                                      {"de_DE.utf8@euro", true},
                                      {"C.Utf-8", true},
                                      {"de_DE.ISO-8859-1", false},
                                      {"de_DE@utf8", false},
                                      {"C", false}}) {
    INFO(name);
    ::setenv("LC_ALL", name, 1);
    look_at_console(context);
    CHECK(context.unicode == unicode);
  }
  old_locale ? ::setenv("LC_ALL", locale.c_str(), 1) : ::unsetenv("LC_ALL");
  ::setenv("TERM", "dumb", 1);
  look_at_console(context);
  CHECK_FALSE(context.terminal);
  old_term ? ::setenv("TERM", term.c_str(), 1) : ::unsetenv("TERM");
  old_color ? ::setenv("NO_COLOR", no_color.c_str(), 1) : ::unsetenv("NO_COLOR");
  ::close(terminal);
}
