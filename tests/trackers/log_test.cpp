// run.log: the console's words with the time, from start to start.
#include <catch2/catch.hpp>

#include "base/files.h"
#include "support/temporary_folder.h"
#include "trackers/tracker.h"

namespace levanter::trackers {
extern const TrackerEntry log_entry;
}

using namespace levanter;

TEST_CASE("run.log has all that was said, of every start", "[trackers]") {
  const testing::TemporaryFolder folder;
  TrackerContext context;
  context.run_folder = folder.path();
  context.total_steps = 10;
  context.terminal = context.color = true;  // of the console, not of a file
  context.clock = [] { return 1234567890.5; };
  for (int start = 0; start < 2; ++start) {
    const auto tracker = trackers::log_entry.make(TrackerConfig(), context);
    tracker->message("saved");
    tracker->log({{"train/loss", 2}}, 1);
    tracker->log({{"eval/loss", 3}}, 1);
    tracker->ended("failed: no room");
    tracker->finish();
  }
  const std::string once =
      "2009-02-13T23:31:30Z saved\n"
      "2009-02-13T23:31:30Z step 1/10  10.0%  loss 2.0000\n"
      "2009-02-13T23:31:30Z step 1/10  eval/loss 3.0000  (best so far)\n"
      "2009-02-13T23:31:30Z failed: no room\n";
  CHECK(read_file(folder / "run.log") == once + once);
}
