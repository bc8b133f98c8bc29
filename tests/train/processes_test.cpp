// Runs whose ranks are processes: the bits, the end and the error of a run on threads.
#include <catch2/catch.hpp>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/limits.h"
#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "support/rank_processes.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

constexpr const char* kDropout = "embed_pdrop = 0.1\nattn_pdrop = 0.2\nresid_pdrop = 0.3\n";

/// Keys of a run of so many ranks; how they talk is for the test to say.
std::string keys(int64_t ranks, int64_t steps) {
  return cat("num_train_steps = ", steps,
             "\nthreads = 1\ncommunicator = \"threads\"\nranks = ", ranks,
             "\ncheckpointer = { keep = [] }\n");
}

std::vector<RankStart> all_with(const std::string& config, int64_t ranks) {
  return std::vector<RankStart>(static_cast<size_t>(ranks), RankStart{config});
}

std::string hash_of(const TinyRun& run, const std::string& id) {
  return json::parse(read_file(run.folder / cat("runs/", id, "/summary.json")))["params_hash"];
}

/// The hash of the same run on one rank of this process.
std::string hash_on_one_rank(const TinyRun& run, int64_t steps) {
  const TrainConfig config = run.config("one", cat("num_train_steps = ", steps, "\n"), kDropout);
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  return hash_of(run, "one");
}

/// Every rank ends with this code.
void check_ends(const std::vector<Ended>& ends, int code) {
  for (size_t r = 0; r < ends.size(); ++r) {
    INFO("rank " << r << ": " << ends[r].err);
    CHECK(ends[r].code == code);
  }
}

/// The same two ranks end the run with the bits of one never disturbed.
void check_resumes(const TinyRun& run, const std::string& config, const std::string& id,
                   int64_t steps) {
  check_ends(RankProcesses(all_with(config, 2)).wait(), 0);
  CHECK(hash_of(run, id) == hash_on_one_rank(run, steps));
}

}  // namespace

TEST_CASE("one rank of a run of processes", "[.rank]") {
  if (!is_rank_process()) {
    WARN("skipped: the other tests of this file start it");
    return;
  }
  ::_exit(run_as_rank());
}

TEST_CASE("ranks that are processes give the bits of one rank", "[train]") {
  const TinyRun run;
  const std::string expected = hash_on_one_rank(run, 12);
  for (const int64_t ranks : {2, 3}) {
    const std::string id = cat("processes-", ranks);
    const std::string config = run.config_file(id, keys(ranks, 12), kDropout);
    const std::vector<Ended> ends = RankProcesses(all_with(config, ranks)).wait();
    check_ends(ends, 0);
    CHECK(hash_of(run, id) == expected);
    check_ends(RankProcesses(all_with(config, ranks)).wait(), 0);  // it has finished
  }
}

TEST_CASE("processes count epochs and open the token cache that the first has made", "[train]") {
  const TinyRun run;
  const std::string two = "threads = 1\ncommunicator = \"threads\"\nranks = 2\n";
  const std::string cached = run.config_file("cached", cat(two, "num_train_epochs = 2\n"));
  const std::string text = read_file(cached);
  const size_t data = text.find("[data]\n") + 7;
  write_file_atomic(cached,
                    cat(text.substr(0, data), "cache_dir = \"cache\"\n", text.substr(data)));
  check_ends(RankProcesses(all_with(cached, 2)).wait(), 0);
  CHECK(path_exists(run.folder / "cache/made_up/train"));
  const TrainConfig plain = run.config("plain", "num_train_epochs = 2\n");
  REQUIRE(train::train(plain, {}) == train::Outcome::kFinished);
  CHECK(hash_of(run, "cached") == hash_of(run, "plain"));
}

namespace {

/// A config whose texts are three shards of records, and their cache a folder of that name.
std::string many_records(const TinyRun& run, const std::string& name, int64_t ranks) {
  std::string lines;
  for (int64_t n = 0; n < 24000; ++n)
    lines += cat("{\"text\": \"", n, " ", std::string(static_cast<size_t>(n % 80), 'x'), "\"}\n");
  for (const char* file : {"a", "b", "c"})
    write_file_atomic(run.folder / cat("records-", file, ".jsonl"), lines);
  const std::string config = run.config_file(name, keys(ranks, 2));
  std::string text = read_file(config);
  text.replace(text.find("text.txt"), 8, "records-*.jsonl");
  text.replace(text.find("[data]"), 6, cat("[data]\ncache_dir = \"cache-", name, "\""));
  write_file_atomic(config, text);
  return config;
}

std::string cached(const TinyRun& run, const std::string& name, const std::string& file) {
  return read_file(run.folder / cat("cache-", name, "/made_up/train/", file));
}

}  // namespace

TEST_CASE(
    "processes make a token cache together, one of them may end, and its bytes are those of "
    "one process",
    "[train]") {
  const TinyRun run;
  REQUIRE(train::train(load_train_config(many_records(run, "one", 1)), {}) ==
          train::Outcome::kFinished);
  const std::string config = many_records(run, "three", 3);
  std::vector<RankStart> starts = all_with(config, 3);
  starts[2].fault_at = 15;  // five or so of the start, two of the call, some of the cache
  std::vector<Ended> ends = RankProcesses(starts).wait();
  check_ends(ends, 6);
  CHECK(ends[0].err.empty());
  CHECK_THAT(ends[2].err, Catch::Contains("a fault made up by the test"));
  CHECK(path_exists(run.folder / "cache-three/made_up/train/progress.json"));
  check_ends(RankProcesses(all_with(config, 3)).wait(), 0);
  for (const char* file : {"ledger.json", "tokens.u16", "starts.i64"})
    CHECK((cached(run, "three", file) == cached(run, "one", file)));
  CHECK(hash_of(run, "three") == hash_of(run, "one"));
}

TEST_CASE("an error of the first rank before the start ends the others, which say nothing",
          "[train]") {
  const TinyRun run;
  const std::string config = run.config_file("a", keys(2, 12));
  remove_tree(run.folder / "text.txt");
  const std::vector<Ended> ends = RankProcesses(all_with(config, 2)).wait();
  check_ends(ends, 3);
  CHECK_THAT(ends[0].err, Catch::Contains("text.txt"));
  CHECK(ends[1].err.empty());
  CHECK_FALSE(path_exists(run.folder / "runs/a"));
}

TEST_CASE("an error of another rank in the middle ends the first with its code", "[train]") {
  const TinyRun run;
  const std::string config = run.config_file("a", keys(2, 12), kDropout);
  std::vector<RankStart> starts = all_with(config, 2);
  starts[1].fault_at = 9 + 5 * 5;  // nine of the start, five a step
  const std::vector<Ended> ends = RankProcesses(starts).wait();
  check_ends(ends, 6);
  CHECK(ends[0].err.empty());
  CHECK_THAT(ends[1].err, Catch::Contains("a fault made up by the test"));
  CHECK(json::parse(read_file(run.folder / "runs/a/summary.json"))["status"] == "failed");
  check_resumes(run, config, "a", 12);
}

TEST_CASE("a rank that is killed is missed, and the same command goes on", "[train]") {
  const TinyRun run;
  const std::string config = run.config_file("a", keys(2, 800), kDropout);
  RankProcesses ranks(all_with(config, 2));
  REQUIRE(wait_for_growth(run.folder / "runs/a/metrics.jsonl", 0));
  ranks.rank(1).signal(SIGKILL);
  const std::vector<Ended> ends = ranks.wait();
  CHECK(ends[0].code == 5);
  CHECK_THAT(ends[0].err, Catch::Contains("rank 1 of this run is gone"));
  check_resumes(run, config, "a", 800);
}

TEST_CASE("a rank that stands still is named, and the same command goes on", "[train]") {
  const std::string watched = cat(keys(3, 800), "watchdog = { step = \"3s\", save = \"3s\" }\n");
  for (const size_t still : {0, 1}) {
    INFO("rank " << still);
    const size_t speaks = still == 0 ? 1 : 0;
    const char* const after = still == 0 ? " for 6." : " for 3.";  // rank 0 would have spoken first
    const TinyRun run;
    const std::string config = run.config_file("a", watched, kDropout);
    RankProcesses ranks(all_with(config, 3));
    REQUIRE(wait_for_growth(run.folder / "runs/a/metrics.jsonl", 0));
    ranks.rank(still).signal(SIGSTOP);
    const Ended named = ranks.rank(speaks).wait();
    CHECK(named.code == 5);
    // The other is late as well where it got nothing of the last exchange that the first one did.
    const std::string who = cat("rank ", still, " on ", host_name());
    CHECK_THAT(named.err,
               Catch::Contains(who) && Catch::Contains(" late: ") &&
                   Catch::Contains(cat("rank ", speaks, " on ", host_name(), " has waited for ")) &&
                   Catch::Contains(after));
    const Ended other = ranks.rank(2).wait();
    CHECK(other.code == 5);
    if (!other.err.empty()) CHECK_THAT(other.err, Catch::Contains(cat(who, " is late: rank 2")));
    ranks.rank(still).signal(SIGCONT);  // what becomes of it then is no matter of the others
    const Ended late = ranks.rank(still).wait();
    CHECK(late.code == 5);
    CHECK(late.err.empty());
    const std::string log = read_file(run.folder / cat("runs/a/ranks/rank-0000", speaks, ".log"));
    CHECK_THAT(log, Catch::Contains(cat("failed: rank ", still)));
    check_ends(RankProcesses(all_with(config, 3)).wait(), 0);
    CHECK(hash_of(run, "a") == hash_on_one_rank(run, 800));
  }
}

TEST_CASE("a rank that goes on in time changes nothing, and the others' logs say who it was",
          "[train]") {
  for (const std::string deadline : {"\"1m\"", "\"none\""}) {
    const TinyRun run;
    const std::string config = run.config_file(
        "a", cat(keys(2, 800), "watchdog = { step = ", deadline, ", save = ", deadline, " }\n"),
        kDropout);
    RankProcesses ranks(all_with(config, 2));
    REQUIRE(wait_for_growth(run.folder / "runs/a/metrics.jsonl", 0));
    ranks.rank(1).signal(SIGSTOP);
    const std::string log = run.folder / "runs/a/ranks/rank-00000.log";
    std::this_thread::sleep_for(std::chrono::milliseconds(2500));
    ranks.rank(1).signal(SIGCONT);
    check_ends(ranks.wait(), 0);
    CHECK(hash_of(run, "a") == hash_on_one_rank(run, 800));
    const std::string lines = read_file(log);
    INFO(lines);
    CHECK_THAT(lines, Catch::Contains(cat("rank 0 of 2 on ", host_name(), ", process ")) &&
                          Catch::Contains(cat(" s for rank 1 on ", host_name())) &&
                          Catch::EndsWith("Z finished\n"));
    CHECK_THAT(read_file(run.folder / "runs/a/ranks/rank-00001.log"),
               Catch::EndsWith("Z finished\n"));
  }
}

TEST_CASE("metrics say which rank was the slowest, by how much, and how long the first waited",
          "[train]") {
  const TinyRun run;
  const std::string config = run.config_file("a", keys(2, 12));
  check_ends(RankProcesses(all_with(config, 2)).wait(), 0);
  const std::vector<std::string> lines =
      split(read_file(run.folder / "runs/a/metrics.jsonl"), '\n');
  const json step = json::parse(lines[0]);
  const double share = step.at("throughput/waited_share"),
               slowest = step.at("throughput/slowest_rank"),
               straggled = step.at("throughput/straggler_share");
  CHECK((straggled >= 0 && straggled <= 1));
  CHECK((share >= 0 && share <= 1));
  CHECK((slowest == 0 || slowest == 1));
  const TrainConfig threads = run.config("b", keys(2, 12));
  REQUIRE(train::train(threads, {}) == train::Outcome::kFinished);
  CHECK_THAT(read_file(run.folder / "runs/b/metrics.jsonl"),
             Catch::Contains("slowest_rank") && !Catch::Contains("waited_share"));
  CHECK_FALSE(path_exists(run.folder / "runs/b/ranks"));
}

TEST_CASE("a rank whose log cannot be written trains all the same", "[train]") {
  const TinyRun run;
  const std::string config = run.config_file("a", keys(2, 12));
  make_directories(run.folder / "runs/a");
  write_file_atomic(run.folder / "runs/a/ranks", "no folder");
  check_ends(RankProcesses(all_with(config, 2)).wait(), 0);
}

TEST_CASE("a stop of one process stops all at the same step, with a checkpoint", "[train]") {
  for (const size_t stopped : {0, 1}) {
    INFO("rank " << stopped);
    const TinyRun run;
    const std::string config = run.config_file("a", keys(2, 800), kDropout);
    RankProcesses ranks(all_with(config, 2));
    REQUIRE(wait_for_growth(run.folder / "runs/a/metrics.jsonl", 0));
    ranks.rank(stopped).signal(SIGTERM);
    check_ends(ranks.wait(), 75);
    const auto saved = find_latest(run.folder / "runs/a/checkpoints").checkpoint;
    REQUIRE(saved);
    const json summary = json::parse(read_file(run.folder / "runs/a/summary.json"));
    CHECK(summary["status"] == "stopped");
    CHECK(summary["global_step"] == saved->step());
    check_resumes(run, config, "a", 800);
  }
}

TEST_CASE("ranks with different configs or different bits are refused", "[train]") {
  const TinyRun run;
  const std::string config = run.config_file("a", keys(2, 12));
  std::vector<RankStart> starts = all_with(config, 2);
  starts[1].config = run.config_file("b", cat(keys(2, 12), "seed = 1\n"));
  std::vector<Ended> ends = RankProcesses(starts).wait();
  check_ends(ends, 2);
  CHECK(ends[0].err.empty());
  CHECK_THAT(ends[1].err,
             Catch::Contains("rank 1 has another config than rank 0: trainer.id is b and there a; "
                             "trainer.seed is 1 and there 0"));
  starts = all_with(config, 2);
  starts[1].environment = {"ONEDNN_MAX_CPU_ISA=SSE41"};
  ends = RankProcesses(starts).wait();
  check_ends(ends, 5);
  CHECK(ends[0].err.empty());
  CHECK_THAT(ends[1].err, Catch::Contains("rank 1 computes other bits than rank 0"));
}

TEST_CASE("ranks that read different texts are refused", "[train]") {
  const TinyRun run;
  const std::string config = run.config_file("a", keys(2, 12), kDropout);
  std::string text = read_file(config);
  text.replace(text.find("text.txt"), 8, "-");
  write_file_atomic(config, text);
  std::vector<RankStart> starts = all_with(config, 2);
  starts[0].input = made_up_text(700, 5);
  starts[1].input = made_up_text(700, 6);
  const std::vector<Ended> ends = RankProcesses(starts).wait();
  check_ends(ends, 3);
  CHECK(ends[0].err.empty());
  CHECK_THAT(ends[1].err, Catch::Contains("rank 1 finds other texts than rank 0: made_up/train"));
  starts[1].input = starts[0].input;
  check_ends(RankProcesses(starts).wait(), 0);
  CHECK(hash_of(run, "a") == hash_on_one_rank(run, 12));
}
