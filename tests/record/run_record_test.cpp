// run.json: what made a run, start by start.
#include "record/run_record.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/file_lock.h"
#include "base/files.h"
#include "record/build.h"
#include "record/surroundings.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::record;

TEST_CASE("a record has a start for each time that a run was started", "[record]") {
  const testing::TemporaryFolder folder;
  {
    RunRecord first(folder.path(), "a");
    first.set("first_step", 0);
    CHECK(first.write() == "");
    const ProcessLock lock(folder / "lock", "");
    CHECK(state_of(folder.path(), read_record(folder.path())) == "running");
  }
  CHECK(state_of(folder.path(), read_record(folder.path())) == "killed");
  settle(folder.path(), "finished", 9);
  CHECK(state_of(folder.path(), read_record(folder.path())) == "finished");
  settle(folder.path(), "stopped", 8);  // it has an end
  CHECK(state_of(folder.path(), read_record(folder.path())) == "finished");
  CHECK(RunRecord(folder.path(), "a").write() == "");
  RunRecord second(folder.path(), "a");
  CHECK(second.end("failed", "no \xff room") == "");
  CHECK(second.end("finished") == "");  // the first word counts
  const auto record = read_record(folder.path());
  REQUIRE(record["starts"].size() == 3);
  CHECK(record["starts"][1]["outcome"] == "killed");
  CHECK(record["starts"][0]["last_step"] == 9);
  CHECK(record["starts"][2]["error"] == "no \xef\xbf\xbd room");
  CHECK(record["starts"][2]["version"] == this_build().version);
  CHECK(state_of(folder.path(), record) == "failed");

  write_file_atomic(folder / "run.json", "{\"starts\": 3}");
  CHECK(read_record(folder.path()).is_null());
  const std::string deep =
      "{\"starts\": [{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}]}";
  write_file_atomic(folder / "run.json", deep);
  CHECK(read_record(folder.path()).is_null());
  for (size_t i = 0; i < kMostStarts + 5; ++i) RunRecord(folder.path(), "a").write();
  CHECK(read_record(folder.path())["starts"].size() == kMostStarts);
}

TEST_CASE("a record keeps what may matter of the environment, and no secret", "[record]") {
  CHECK(matters("OMP_NUM_THREADS"));
  CHECK(matters("SLURM_JOB_ID"));
  CHECK(!matters("HOME"));
  CHECK(!matters("SLURM_JOB_ID2"));
  CHECK(!matters("LEVANTER_API_KEY"));
  CHECK(!matters("CUDA_SECRET"));
}
