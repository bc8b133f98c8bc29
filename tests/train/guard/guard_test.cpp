// What a guard lets through, what it remembers, and which batches rollbacks leave out.
#include "train/guard/guard.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;
using namespace levanter::train;
using nlohmann::json;

namespace {

GuardConfig spikes(GuardAction action) {
  GuardConfig config;
  config.on_spike = action;
  config.window = 4;
  config.max_skips = 2;
  config.rollback_steps = 5;
  config.max_rollbacks = 1;
  return config;
}

UpdateReport step(float loss, float norm, bool proceeded) { return {loss, norm, proceeded}; }

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("nothing is a spike before half of the window is there, then what jumps is", "[train]") {
  const GuardConfig config = spikes(GuardAction::kSkip);
  Guard guard(config, {}, {});
  CHECK(guard.limits().loss == kInfinity);
  CHECK_FALSE(guard.judge(step(3, 1, true)).action);
  CHECK(guard.limits().grad_norm == kInfinity);
  CHECK_FALSE(guard.judge(step(2, 5, true)).action);
  CHECK(guard.limits().loss == 3);        // 1.5 times the lower one of 2 and 3
  CHECK(guard.limits().grad_norm == 10);  // 10 times that of 1 and 5
  const Verdict loss = guard.judge(step(4, 1, false));
  CHECK(loss.action == GuardAction::kSkip);
  CHECK(loss.reason == "has loss 4, more than 1.5 times the median 2 of 2 steps");
  const Verdict norm = guard.judge(step(2, 90, false));
  CHECK(norm.reason == "has gradient norm 90, more than 10 times the median 1 of 3 steps");
  CHECK(guard.skipped() == 2);
  CHECK(guard.skipped_in_a_row() == 2);
  CHECK(guard.limits().loss == 3);  // of 2, 2, 3 and 4, since what was skipped counts
  for (int i = 0; i < 3; ++i) CHECK_FALSE(guard.judge(step(4, 1, true)).action);
  CHECK(guard.limits().loss == 6);  // the window has moved on
  CHECK(guard.skipped_in_a_row() == 0);
}

TEST_CASE("a guard that does not look for spikes has nothing to remember but NaNs", "[train]") {
  GuardConfig config;
  Guard guard(config, {}, {});
  CHECK_FALSE(guard.judge(step(3, 1, true)).action);
  CHECK(guard.record().empty());
  const Verdict verdict = guard.judge(step(NAN, kInfinity, false));
  CHECK(verdict.action == GuardAction::kStop);
  CHECK(verdict.reason == "has loss nan and gradient norm inf");
  CHECK_FALSE(guard.record().empty());
  CHECK(guard.limits().loss == kInfinity);
}

TEST_CASE("a guard goes on from its record as if it had never ended", "[train]") {
  GuardConfig config = spikes(GuardAction::kSkip);
  Guard guard(config, {}, {});
  const float losses[] = {3.25f, 2.1f, 7, NAN, 1.7f};
  for (const float loss : losses) guard.judge(step(loss, loss / 3, loss < 5));
  const Guard again(config, json::parse(guard.record()), {});
  CHECK(again.record() == guard.record());
  CHECK(again.limits().loss == guard.limits().loss);
  CHECK(again.limits().grad_norm == guard.limits().grad_norm);
  config.window = 2;  // a shorter one takes the last steps
  const Guard shorter(config, json::parse(guard.record()), {});
  CHECK(shorter.limits().loss == 1.5f * 1.7f);
}

TEST_CASE("one skip or rollback too many stops", "[train]") {
  const GuardConfig skipping = spikes(GuardAction::kSkip);
  Guard guard(skipping, {}, {});
  guard.judge(step(1, 1, true));
  guard.judge(step(1, 1, true));
  CHECK(guard.judge(step(9, 1, false)).action == GuardAction::kSkip);
  CHECK(guard.judge(step(9, 1, false)).action == GuardAction::kSkip);
  const Verdict last = guard.judge(step(9, 1, false));
  CHECK(last.action == GuardAction::kStop);
  CHECK(last.key == "trainer.guard.max_skips");

  const GuardConfig rolling = spikes(GuardAction::kRollback);
  Guard first(rolling, {}, {});
  Guard second(rolling, {}, {Rollback{9, 3, 3, 8}});
  for (Guard* one : {&first, &second}) {
    one->judge(step(1, 1, true));
    one->judge(step(1, 1, true));
  }
  CHECK(first.judge(step(9, 1, false)).action == GuardAction::kRollback);
  const Verdict stop = second.judge(step(9, 1, false));
  CHECK(stop.action == GuardAction::kStop);
  CHECK(stop.key == "trainer.guard.max_rollbacks");
}

TEST_CASE("a rollback leaves out the batches of the steps that it goes back over", "[train]") {
  const GuardConfig config = spikes(GuardAction::kRollback);
  const Guard fresh(config, {}, {});
  const Rollback plain = fresh.back_from(20, 0, "spikes");
  CHECK(plain.step == 21);
  CHECK(plain.back_to == 15);
  CHECK(plain.first == 15);
  CHECK(plain.last == 20);
  const Rollback early = fresh.back_from(2, 0, "");
  CHECK(early.back_to == 0);
  CHECK(early.first == 0);
  CHECK(early.last == 2);
  CHECK(fresh.back_from(12, 10, "").back_to == 10);  // where another run's checkpoint begins it

  const Guard again(config, {}, {plain});
  const Rollback second = again.back_from(17, 0, "");
  CHECK(second.back_to == 12);
  CHECK(second.first == 12);
  CHECK(second.last == 23);  // steps 15 and 16 had batches 21 and 22
}

TEST_CASE("steps take the batches that are not left out, in order", "[train]") {
  const Rollbacks rollbacks = {{0, 0, 5, 9}, {0, 0, 3, 12}, {0, 0, 20, 20}, {0, 0, 13, 13}};
  std::set<int64_t> out;
  for (const Rollback& r : rollbacks)
    for (int64_t place = r.first; place <= r.last; ++place) out.insert(place);
  const auto ranges = left_out(rollbacks);
  REQUIRE(ranges.size() == 2);  // what touches is one
  CHECK(ranges[0].begin == 3);
  CHECK(ranges[0].end == 14);
  std::vector<int64_t> places;
  for (int64_t place = 0; std::ssize(places) < 30; ++place)
    if (!out.contains(place)) places.push_back(place);
  for (int64_t step = 0; step < 30; ++step)
    CHECK(place_of(rollbacks, step) == places[static_cast<size_t>(step)]);
  for (int64_t first = 0; first < 30; ++first)
    for (int64_t end = first + 1; end <= 30; ++end) {
      std::vector<int64_t> listed;
      for (const PlaceRange& range : places_of(rollbacks, first, end)) {
        REQUIRE(range.begin < range.end);
        for (int64_t place = range.begin; place < range.end; ++place) listed.push_back(place);
      }
      REQUIRE(listed == std::vector<int64_t>(places.begin() + first, places.begin() + end));
    }
  const auto none = places_of(rollbacks, 4, 4);
  REQUIRE(none.size() == 1);
  CHECK(none[0].begin == none[0].end);
}

TEST_CASE("checkpoints are abandoned that have learned from what is left out since", "[train]") {
  const Rollbacks rollbacks = {{21, 15, 15, 20}, {14, 10, 10, 13}};
  CHECK_FALSE(is_abandoned(rollbacks, 10, 0));
  CHECK(is_abandoned(rollbacks, 11, 0));
  CHECK(is_abandoned(rollbacks, 12, 1));
  CHECK_FALSE(is_abandoned(rollbacks, 12, 2));
  CHECK(is_abandoned({rollbacks[0]}, 16, 0));
  CHECK_FALSE(is_abandoned({rollbacks[0]}, 16, 1));
}

TEST_CASE("rollbacks are read back from a run's folder, and damage is named", "[train]") {
  const TemporaryFolder folder;
  CHECK_FALSE(read_rollbacks(folder / ""));
  write_rollbacks(folder / "", {{21, 15, 15, 20, "has loss 9"}});
  const auto read = read_rollbacks(folder / "");
  REQUIRE(read);
  REQUIRE(read->size() == 1);
  CHECK(to_json(*read) == to_json({{21, 15, 15, 20, "has loss 9"}}));
  write_file_atomic(folder / "rollbacks.json", "[{\"step\": 1}]");
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { read_rollbacks(folder / ""); }),
             Catch::Contains("rollbacks.json"));
}
