// metrics.csv: a row a step, its head growing with what is measured.
#include <catch2/catch.hpp>

#include <cmath>

#include "base/files.h"
#include "support/temporary_folder.h"
#include "trackers/tracker.h"

namespace levanter::trackers {
extern const TrackerEntry csv_entry;
}

using namespace levanter;

namespace {

std::unique_ptr<Tracker> open(const testing::TemporaryFolder& folder, int64_t resume_step = 0) {
  TrackerContext context;
  context.run_folder = folder.path();
  context.resume_step = resume_step;
  return trackers::csv_entry.make(TrackerConfig(), context);
}

}  // namespace

TEST_CASE("a step is a row, and a new metric a column", "[trackers]") {
  const testing::TemporaryFolder folder;
  auto tracker = open(folder);
  tracker->log({{"train/loss", 2.5}, {"lr", 0.1}}, 1);
  tracker->flush();
  tracker->log({{"train/loss", NAN}}, 2);
  tracker->flush();
  tracker->log({{"eval/a, b", 3}}, 2);  // joins the row
  tracker->log({{"train/loss", 2}, {"lr", 0.2}}, 3);
  tracker->finish();
  CHECK(tracker->news() == "");
  CHECK(read_file(folder / "metrics.csv") ==
        "step,train/loss,lr,\"eval/a, b\"\n1,2.5,0.1,\n2,nan,,3\n3,2,0.2,\n");

  tracker = open(folder, 2);  // step 3 is done again
  tracker->log({{"lr", 0.3}, {"train/loss", 1}}, 3);
  tracker->finish();
  CHECK(read_file(folder / "metrics.csv") ==
        "step,train/loss,lr,\"eval/a, b\"\n1,2.5,0.1,\n2,nan,,3\n3,1,0.3,\n");
  open(folder)->finish();
  CHECK(read_file(folder / "metrics.csv") == "");
}

TEST_CASE("a table that cannot be written ends nothing", "[trackers]") {
  const testing::TemporaryFolder folder;
  make_directories(folder / "metrics.csv");
  const auto tracker = open(folder);
  tracker->log({{"x", 1}}, 1);
  tracker->finish();
  CHECK_THAT(tracker->news(),
             Catch::Contains("/metrics.csv: ") && Catch::Contains("the run goes on"));
  CHECK(tracker->news() == "metrics.csv: 1 row could not be written");
  CHECK(tracker->news() == "");
}
