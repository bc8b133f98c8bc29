// What all trackers share.
#include "trackers/tracker.h"

#include <catch2/catch.hpp>

#include <cmath>

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

 private:
  void note(const std::string& call) {
    calls += call + ";";
    if (fails_) throw Error(ErrorKind::kIo, "no room for " + call);
  }
  bool fails_;
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

TEST_CASE("several trackers hear every call, and one that fails stops no other", "[trackers]") {
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
  CHECK_THROWS_WITH(both->flush(), Contains("no room for flush"));
  CHECK(calls == "flush;flush;");
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
