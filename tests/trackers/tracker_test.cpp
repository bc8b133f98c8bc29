// What all trackers share.
#include "trackers/tracker.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <cmath>
#include <future>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"

using namespace levanter;
using Catch::Contains;

namespace {

/// What the trackers below were told; each writes from its own thread.
class Calls final {
 public:
  void add(const std::string& call) {
    const std::scoped_lock lock(mutex_);
    all_ += call + ";";
  }
  std::string take() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(all_, "");
  }

 private:
  std::mutex mutex_;
  std::string all_;
};

class Recorder final : public Tracker {
 public:
  explicit Recorder(Calls& calls, bool fails = false, bool shows = false)
      : calls_(calls), fails_(fails), shows_(shows) {}
  void log(const Metrics& metrics, int64_t step) override {
    if (fails_) throw Error(ErrorKind::kIo, "no room");
    calls_.add("log " + metrics.at(0).first + " " + std::to_string(step));
  }
  void log_summary(const Metrics&) override { calls_.add("summary"); }
  void message(std::string_view line) override { calls_.add(std::string(line)); }
  void flush() override {
    calls_.add("flush");
    if (fails_ && !std::exchange(told_, true)) news_ = "tried again";
  }
  void ended(std::string_view outcome) override { calls_.add("ended " + std::string(outcome)); }
  void finish() override { calls_.add("finish"); }
  std::string news() override { return std::exchange(news_, ""); }
  bool shows_messages() const override { return shows_; }

 private:
  Calls& calls_;
  bool fails_, shows_, told_ = false;
  std::string news_;
};

/// Does not return from its first call until it is let go.
class Stuck final : public Tracker {
 public:
  explicit Stuck(std::shared_future<void> gate) : gate_(std::move(gate)) {}
  void log(const Metrics&, int64_t) override { gate_.wait(); }
  void log_summary(const Metrics&) override {}
  void message(std::string_view) override {}
  void flush() override {}
  void finish() override {}

 private:
  std::shared_future<void> gate_;
};

}  // namespace

TEST_CASE("metrics are found by name", "[trackers]") {
  const Metrics metrics = {{"train/loss", 2.5}, {"global_step", 3}};
  CHECK(find_metric(metrics, "global_step", -1) == 3);
  CHECK(find_metric(metrics, "eval/loss", -1) == -1);
}

TEST_CASE("numbers become JSON", "[trackers]") {
  CHECK(json_number(1000000) == "1000000");
  CHECK(json_number(-3) == "-3");
  CHECK(json_number(0.1) == "0.1");
  CHECK(json_number(1e-5) == "1e-05");
  CHECK(json_number(1e300) == "1e+300");
  CHECK(json_number(NAN) == "null");
  CHECK(json_number(-INFINITY) == "null");
}

TEST_CASE("a time is written as the world writes it", "[trackers]") {
  CHECK(utc_time(0) == "1970-01-01T00:00:00Z");
  CHECK(utc_time(1234567890.75) == "2009-02-13T23:31:30Z");
  CHECK(utc_time(4102444800) == "2100-01-01T00:00:00Z");
}

TEST_CASE("each of several trackers hears every call in its order", "[trackers]") {
  Calls a, b;
  std::vector<trackers::Named> two;
  two.push_back({"a", std::make_unique<Recorder>(a)});
  two.push_back({"b", std::make_unique<Recorder>(b)});
  const auto both = trackers::together(std::move(two));
  both->log({{"x", 1}}, 7);
  both->log_summary({});
  both->message("m");
  both->flush();
  CHECK(a.take() == "log x 7;summary;m;flush;");
  both->ended("stopped");
  both->finish();
  CHECK(a.take() == "ended stopped;finish;");
  CHECK(b.take() == "log x 7;summary;m;flush;ended stopped;finish;");
}

TEST_CASE("a tracker that fails is told of once, and what it lost at the end", "[trackers]") {
  Calls steady, failing;
  std::vector<trackers::Named> two;
  two.push_back({"steady", std::make_unique<Recorder>(steady, false, true)});
  two.push_back({"failing", std::make_unique<Recorder>(failing, true)});
  const auto both = trackers::together(std::move(two));
  both->log({{"x", 1}}, 1);
  both->log({{"x", 1}}, 2);
  both->flush();
  both->flush();
  // News come as soon as they are there, so the calls around them are in no fixed order.
  const std::string told = steady.take();
  CHECK_THAT(told, Contains("failing: no room; the run goes on;") && Contains("tried again;"));
  CHECK(told.find("no room") == told.rfind("no room"));
  both->finish();
  CHECK_THAT(steady.take(), Contains("failing: 2 calls came to nothing"));
}

TEST_CASE("trouble that no other tracker shows is told on the console", "[trackers]") {
  const bool shown = GENERATE(false, true);
  const testing::TemporaryFolder folder;
  const int fd = ::open((folder / "console").c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(fd >= 0);
  Calls calls;
  std::vector<trackers::Named> two;
  two.push_back({"steady", std::make_unique<Recorder>(calls, false, shown)});
  two.push_back({"failing", std::make_unique<Recorder>(calls, true, true)});
  const auto both = trackers::together(std::move(two), fd);
  both->log({{"x", 1}}, 1);
  both->finish();
  ::close(fd);
  CHECK(read_file(folder / "console") ==
        (shown ? "" : "failing: no room; the run goes on\nfailing: 1 call came to nothing\n"));
}

TEST_CASE("a tracker that hangs holds up no step", "[trackers]") {
  std::promise<void> gate;
  std::vector<trackers::Named> one;
  one.push_back({"stuck", std::make_unique<Stuck>(gate.get_future().share())});
  auto tracker = trackers::together(std::move(one), /*console_fd=*/-1);
  for (size_t i = 0; i < 2 * trackers::kMostWaiting; ++i) tracker->log({{"x", 1}}, 1);
  gate.set_value();  // else the end waits as long as it has patience
  tracker->finish();
  tracker.reset();
}

TEST_CASE("a config names trackers by words, or by tables with keys", "[trackers]") {
  CHECK(default_trackers().size() == 3);
  const auto config =
      parse_train_config("trainer.tracker = [\"jsonl\", { type = \"console\" }]\n", "run.toml");
  CHECK_THAT(print_config(config), Contains("tracker = [\"jsonl\", \"console\"]"));
  try {
    parse_train_config("trainer.tracker = [\"jsnl\"]\n", "run.toml");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK_THAT(error.what(), Contains("tensorboard"));
    CHECK_THAT(error.what(), Contains("jsonl"));
  }
  CHECK_THROWS_WITH(parse_train_config("trainer.tracker = [\"csv\", \"csv\"]\n", "run.toml"),
                    Contains("twice"));
  CHECK_THROWS_WITH(parse_train_config("trainer.tracker = [{}]\n", "run.toml"),
                    Contains("trainer.tracker[0].type is missing"));
}
