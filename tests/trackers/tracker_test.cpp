// What all trackers share.
#include "trackers/tracker.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <utility>

#include "base/error.h"

using namespace levanter;
using Catch::Matchers::Contains;

namespace {

std::string calls;  // what the trackers below were told

class Recorder final : public Tracker {
 public:
  explicit Recorder(bool fails) : fails_(fails) {}
  void log(const Metrics& metrics, int64_t step) override {
    note("log " + metrics.at(0).first + " " + std::to_string(step));
  }
  void log_summary(const Metrics&) override { note("summary"); }
  void message(std::string_view line) override { note(std::string(line)); }
  void flush() override { note("flush"); }
  void finish() override { note("finish"); }
  std::string news() override { return std::exchange(news_, ""); }

 private:
  void note(const std::string& call) {
    calls += call + ";";
    if (fails_ && call == "flush") news_ = "no room";
  }
  bool fails_;
  std::string news_;
};

const TrackerEntry kSteady = {"steady", "", [](const TrackerContext&) -> std::unique_ptr<Tracker> {
                                return std::make_unique<Recorder>(false);
                              }};
const TrackerEntry kFailing = {"failing", "",
                               [](const TrackerContext&) -> std::unique_ptr<Tracker> {
                                 return std::make_unique<Recorder>(true);
                               }};
const TrackerEntry* const kKnown[] = {&kSteady, &kFailing};

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

TEST_CASE("several trackers hear every call, and the trouble of one is told to all", "[trackers]") {
  calls.clear();
  const std::string names[] = {"steady", "steady"};
  const auto two = make_trackers(names, kKnown, {});
  two->log({{"a", 1}}, 7);
  two->log_summary({});
  two->message("m");
  two->flush();
  two->finish();
  CHECK(calls == "log a 7;log a 7;summary;summary;m;m;flush;flush;finish;finish;");

  calls.clear();
  const std::string mixed[] = {"failing", "steady"};
  const auto both = make_trackers(mixed, kKnown, {});
  both->flush();
  CHECK(calls == "flush;flush;no room;no room;");
  both->log({{"a", 1}}, 1);
  CHECK(calls == "flush;flush;no room;no room;log a 1;log a 1;");
}

TEST_CASE("an unknown tracker is a config error that names the nearest", "[trackers]") {
  const std::string names[] = {"stedy"};
  try {
    make_trackers(names, kKnown, {});
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kConfig);
    CHECK_THAT(error.what(), Contains("unknown tracker \"stedy\""));
    CHECK_THAT(error.what(), Contains("steady, failing"));
    CHECK_THAT(error.what(), Contains("did you mean steady?"));
  }
}
