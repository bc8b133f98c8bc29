// wandb: what an offline run's file has in it, to the byte where that is fixed.
#include <catch2/catch.hpp>

#include <zlib.h>

#include <cmath>
#include <cstring>

#include "base/files.h"
#include "base/strings.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"
#include "trackers/tracker.h"
#include "trackers/wandb_file.h"

namespace levanter::trackers {
extern const TrackerEntry wandb_entry;
}

using namespace levanter;
using Catch::Contains;

namespace {

/// The records of a file, read as LevelDB reads its logs.
std::vector<std::string> records_of(const std::string& file) {
  REQUIRE(file.starts_with(std::string_view(":W&B\xe1\xbe\x00", 7)));
  std::vector<std::string> records;
  std::string record;
  for (size_t at = 7; at + 7 <= file.size();) {
    if (const size_t left = 32768 - at % 32768; left < 7) {
      at += left;
      continue;
    }
    uint32_t crc = 0;
    uint16_t size = 0;
    std::memcpy(&crc, &file[at], 4);
    std::memcpy(&size, &file[at + 4], 2);
    const std::string piece = file.substr(at + 6, size + size_t{1});
    CHECK(::crc32(0, reinterpret_cast<const Bytef*>(piece.data()),
                  static_cast<uInt>(piece.size())) == crc);
    record += piece.substr(1);
    if (piece[0] == 1 || piece[0] == 4) records.push_back(std::exchange(record, ""));
    at += size + size_t{7};
  }
  CHECK(record == "");
  return records;
}

std::unique_ptr<Tracker> open(const testing::TemporaryFolder& folder, int64_t resume_step) {
  const auto config = parse_train_config(
      "trainer.tracker = [{ type = \"wandb\", project = \"p\", tags = [\"t\"] }]\n", "run.toml");
  TrackerContext context;
  context.run_folder = folder.path();
  context.run_id = "name";
  context.resume_step = resume_step;
  context.config = {{"trainer.seed", "3"}, {"model.rope", "{ a = 1 }"}};
  context.record = "{\"revision\": \"abc\"}";
  static double time = 1234567890.5;
  context.clock = [] { return time += 1; };
  return trackers::wandb_entry.make(*config.trainer.tracker[0], context);
}

std::vector<std::string> runs_in(const testing::TemporaryFolder& folder) {
  return list_directory(folder / "wandb");
}

std::string file_of(const testing::TemporaryFolder& folder, const std::string& run) {
  const std::string below = join_path(folder / "wandb", run);
  return read_file(join_path(below, list_directory(below).at(0)));
}

}  // namespace

TEST_CASE("records are cut at blocks of 32 KiB", "[trackers]") {
  using trackers::wandb::framed;
  std::string file;
  const std::vector<std::string> records = {std::string(100, 'a'), std::string(70'000, 'b'), "",
                                            std::string(32'768 * 3 - 100, 'c'), "d"};
  for (const std::string& record : records) file += framed(record, std::ssize(file));
  CHECK(records_of(file) == records);
  for (int64_t left = 0; left < 20; ++left) {  // up to the end of the first block
    file = framed(std::string(static_cast<size_t>(32'768 - 7 - 7 - left), 'x'), 0);
    file += framed("next", std::ssize(file));
    CHECK(records_of(file).back() == "next");
  }
}

TEST_CASE("an offline run has its config, its steps, its summary and its end", "[trackers]") {
  const testing::TemporaryFolder folder;
  {
    const auto tracker = open(folder, 0);
    tracker->log({{"train/loss", 2.5}}, 1);
    tracker->flush();
    tracker->log({{"eval/loss", NAN}}, 1);
    tracker->log({{"train/loss", 2}}, 2);
    tracker->message("saved");
    tracker->ended("finished");
    tracker->finish();
    CHECK(tracker->news() == "");
  }
  REQUIRE(runs_in(folder).size() == 1);
  CHECK_THAT(runs_in(folder)[0], Catch::StartsWith("offline-run-2009021"));
  const auto records = records_of(file_of(folder, runs_in(folder)[0]));
  REQUIRE(records.size() == 8);  // header, run, stats, steps, a line, summary, exit
  CHECK_THAT(records[1], Contains("trainer.seed") && Contains("\"{ a = 1 }\"") &&
                             Contains("name") && Contains("abc"));
  CHECK_THAT(records[3], Contains("train/loss") && Contains("NaN") && Contains("_step"));
  CHECK_THAT(records[6], Contains("\"finished\""));

  const auto again = open(folder, 1);
  again->ended("failed: x");
  again->finish();
  REQUIRE(runs_in(folder).size() == 2);
  const auto id = [&](size_t i) { return runs_in(folder)[i].substr(28); };
  CHECK(id(0) == id(1));  // it is sent to the same page
  open(folder, 0)->finish();
  CHECK(id(2) != id(1));
}

TEST_CASE("histograms and samples are of the step that they come in", "[trackers]") {
  const testing::TemporaryFolder folder;
  const auto tracker = open(folder, 0);
  Histogram h{3, 0, 2, 3, 5};
  h.limits = {0, 1, 2};
  h.counts = {1, 2};
  tracker->log({{"train/loss", 2.5}}, 1);
  tracker->log_histograms({{"watch/grad_histogram/a", h}}, 1);
  tracker->log_samples(std::vector<SampleText>{{"the ", "c\xff\"t"}}, 1);
  tracker->log({{"train/loss", 2}}, 2);
  tracker->finish();
  const auto records = records_of(file_of(folder, runs_in(folder)[0]));
  const auto step = std::find_if(records.begin(), records.end(), [](const std::string& record) {
    return record.find("grad_histogram") != record.npos;
  });
  REQUIRE(step != records.end());
  CHECK_THAT(*step, Contains("train/loss") && Contains("_step") && Contains("samples/0") &&
                        Contains("\"the c\ufffd\\\"t\"") &&
                        Contains("{\"_type\": \"histogram\", \"values\": [1, 2], \"bins\": "
                                 "[0, 1, 2]}"));
}
