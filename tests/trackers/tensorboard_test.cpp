// tensorboard/: files that follow one another.
#include <catch2/catch.hpp>

#include "base/strings.h"
#include "support/temporary_folder.h"
#include "trackers/event_file.h"
#include "trackers/tracker.h"

namespace levanter::trackers {
extern const TrackerEntry tensorboard_entry;
}

using namespace levanter;

namespace {

double fixed_clock() { return 1234567890.5; }

std::unique_ptr<Tracker> open(const testing::TemporaryFolder& folder, int64_t resume_step) {
  TrackerContext context;
  context.run_folder = folder.path();
  context.resume_step = resume_step;
  context.clock = fixed_clock;
  return trackers::tensorboard_entry.make(TrackerConfig(), context);
}

}  // namespace

TEST_CASE("a run writes its version and then its scalars", "[trackers]") {
  const testing::TemporaryFolder folder;
  const auto tracker = open(folder, 0);
  tracker->log({{"train/loss", 2.5}, {"eval/loss", 3}}, 1);
  tracker->log({{"train/loss", 2}}, 2);
  tracker->log_summary({{"parameter_count", 10}});
  tracker->finish();
  const auto names = list_directory(folder / "tensorboard");
  REQUIRE(names.size() == 1);
  CHECK(names[0].starts_with("events.out.tfevents.1234567890."));
  const double wall = fixed_clock();
  using namespace trackers;
  CHECK(read_file(join_path(folder / "tensorboard", names[0])) ==
        tf_record(version_event(wall)) +
            tf_record(scalars_event(wall, 1, {{"train/loss", 2.5}, {"eval/loss", 3}})) +
            tf_record(scalars_event(wall, 2, {{"train/loss", 2}})) +
            tf_record(scalars_event(wall, 2, {{"parameter_count", 10}})));
}

TEST_CASE("a resume starts a later file that drops the steps done again", "[trackers]") {
  const testing::TemporaryFolder folder;
  open(folder, 0)->finish();
  open(folder, 50)->finish();
  open(folder, 0)->finish();
  const auto names = list_directory(folder / "tensorboard");
  REQUIRE(names.size() == 3);
  const double wall = fixed_clock();
  const auto file = [&](size_t i) {
    return read_file(join_path(folder / "tensorboard", names[i]));
  };
  using namespace trackers;
  CHECK(names[1].starts_with("events.out.tfevents.1234567891."));
  CHECK(file(0) == tf_record(version_event(wall)));
  CHECK(file(1) == tf_record(version_event(wall)) + tf_record(restart_event(wall, 51)));
  CHECK(file(2) == tf_record(version_event(wall)) + tf_record(restart_event(wall, 0)));
}

TEST_CASE("event files that cannot be written wait until they can", "[trackers]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "tensorboard", "");  // where the folder has to be
  const auto tracker = open(folder, 0);
  tracker->log({{"train/loss", 2.5}}, 1);
  tracker->flush();
  CHECK(tracker->news().find("the run goes on") != std::string::npos);
  CHECK(tracker->news() == "");
  remove_tree(folder / "tensorboard");
  tracker->finish();
  CHECK(tracker->news() == "tensorboard is written again");
  const auto names = list_directory(folder / "tensorboard");
  REQUIRE(names.size() == 1);
  const double wall = fixed_clock();
  using namespace trackers;
  CHECK(read_file(join_path(folder / "tensorboard", names[0])) ==
        tf_record(version_event(wall)) + tf_record(scalars_event(wall, 1, {{"train/loss", 2.5}})));
}

TEST_CASE("a run's config and its end are among its events", "[trackers]") {
  const testing::TemporaryFolder folder;
  TrackerContext context;
  context.run_folder = folder.path();
  context.run_id = "a";
  context.clock = fixed_clock;
  context.config = {
      {"trainer.seed", "3"}, {"trainer.log_dir", "\"x|y\""}, {"model.type", "\"gpt2\""}};
  const auto tracker = trackers::tensorboard_entry.make(TrackerConfig(), context);
  tracker->ended("finished");
  tracker->finish();
  const auto names = list_directory(folder / "tensorboard");
  REQUIRE(names.size() == 1);
  const double wall = fixed_clock();
  using namespace trackers;
  CHECK(read_file(join_path(folder / "tensorboard", names[0])) ==
        tf_record(version_event(wall)) +
            tf_record(session_start_event(wall, "a",
                                          {{"trainer.seed", "3"}, {"model.type", "\"gpt2\""}})) +
            tf_record(
                text_event(wall, 0, "config",
                           "| key | value |\n|---|---|\n| trainer.seed | `3` |\n"
                           "| trainer.log_dir | `\"x\\|y\"` |\n| model.type | `\"gpt2\"` |\n")) +
            tf_record(text_event(wall, 0, "outcome", "finished")) +
            tf_record(session_end_event(wall, true)));
}
