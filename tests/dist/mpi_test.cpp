// Runs that mpirun starts: the bits, the end and the error of a run on one rank.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/limits.h"
#include "base/strings.h"
#include "dist/communicator.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

/// Whether mpirun is here and the program is built with MPI; says so where not.
bool can_run_mpi() {
  if (address_is_sanitized()) {
    WARN("skipped: MPI leaves memory behind, which the address sanitizer takes for ours");
    return false;
  }
  const bool can = run_shell("command -v mpirun", ".").code == 0 &&
                   path_exists(join_path(parent_path(executable_path()), "../levanter_mpi.so"));
  if (!can) WARN("skipped: no MPI here (libopenmpi-dev, openmpi-bin)");
  return can;
}

/// `levanter train` with the words, as so many processes.
Ended train(const SmallRun& run, int64_t ranks, const std::string& words) {
  return run_shell(cat("mpirun --allow-run-as-root --oversubscribe -np ", ranks,
                       " levanter train --config run.toml ", words),
                   run.path());
}

std::string hash_of(const SmallRun& run, const std::string& id) {
  return json::parse(read_file(run / cat("logs/", id, "/summary.json")))["params_hash"];
}

int64_t count(std::string_view text, std::string_view words) {
  int64_t found = 0;
  for (size_t at = text.find(words); at != text.npos; at = text.find(words, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("processes of mpirun give the bits of one process", "[dist][mpi]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  const std::string groups = "--trainer.microbatch_size=1";
  REQUIRE(run.train({groups, "--trainer.id=one"}).code == 0);
  for (const int64_t ranks : {2, 3, 4}) {
    const Ended ended = train(run, ranks, cat(groups, " --trainer.id=mpi-", ranks));
    INFO(ended.err);
    CHECK(ended.code == 0);
    CHECK(hash_of(run, cat("mpi-", ranks)) == hash_of(run, "one"));
    CHECK(count(ended.err, "finished: ") == 1);
  }
}

TEST_CASE("what all processes of mpirun find wrong is told once, and all end with its code",
          "[dist][mpi]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  const std::string rows = "--trainer.microbatch_size=1 ";
  for (const auto& [words, error] :
       {std::pair{"--trainer.sed=1", "trainer.sed = 1 is not a key"},
        std::pair{"--trainer.ranks=2", "trainer.ranks = 2, and 3 processes were started"},
        std::pair{"--sed", "levanter train has no option --sed"}}) {
    const Ended ended = train(run, 3, cat(rows, words));
    INFO(ended.err);
    CHECK(ended.code == 2);
    CHECK(count(ended.err, "error: ") == 1);
    CHECK(count(ended.err, error) == 1);
  }
  remove_tree(run / "a.txt");
  const Ended ended = train(run, 3, rows);
  CHECK(ended.code == 3);
  CHECK(count(ended.err, "error: ") == 1);
  CHECK_FALSE(path_exists(run / "logs"));
  for (const std::string command : {"eval --checkpoint logs/run", "plan --config run.toml"}) {
    const Ended refused = run_shell(
        cat("mpirun --allow-run-as-root --oversubscribe -np 2 levanter ", command), run.path());
    CHECK(refused.code == 2);
    CHECK(count(refused.err, "is one process, and Open MPI's mpirun has started 2") == 1);
  }
}

TEST_CASE("a rank that is killed ends a run of mpirun, and another number of ranks goes on",
          "[dist][mpi]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  const std::string steps = "--trainer.microbatch_size=1 --trainer.num_train_steps=400 ";
  REQUIRE(run.train({"--trainer.microbatch_size=1", "--trainer.num_train_steps=400",
                     "--trainer.id=one"})
              .code == 0);
  const std::string start =
      cat("(mpirun --allow-run-as-root --oversubscribe -np 3 levanter train --config run.toml ",
          steps, "--trainer.id=many & echo $! > pid; wait $!)");
  std::jthread watcher([&] {
    if (wait_for_growth(run / "logs/many/metrics.jsonl", 2000))
      run_shell("pkill -KILL -n -P $(cat pid) levanter", run.path());
  });
  const Ended killed = run_shell(start, run.path());
  watcher.join();
  CHECK(killed.code != 0);
  const Ended ended = train(run, 2, cat(steps, "--trainer.id=many"));
  INFO(ended.err);
  CHECK(ended.code == 0);
  CHECK(hash_of(run, "many") == hash_of(run, "one"));
}

TEST_CASE("a rank of mpirun that stands still ends all, and is named", "[dist][mpi]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  const std::string id = cat("still-", file_name(run.path()));
  const std::string steps =
      cat("--trainer.microbatch_size=1 --trainer.num_train_steps=4000 --trainer.id=", id,
          " --trainer.watchdog.step=3s --trainer.watchdog.save=3s");
  const Ended ended = run_shell(
      cat("mpirun --allow-run-as-root --oversubscribe -np 3 levanter train --config run.toml ",
          steps,
          " & mpi=$!; while [ ! -s logs/still*/metrics.jsonl ]; do sleep 0.05; done; "
          "pid=$(pgrep -n -P $mpi levanter); kill -STOP $pid; tr '\\0' '\\n' </proc/$pid/environ | "
          "sed -n 's/^OMPI_COMM_WORLD_RANK=//p' >stopped; wait $mpi"),
      run.path());
  INFO(ended.err);
  CHECK(ended.code == 5);
  CHECK(count(ended.err, "error: rank ") == 1);
  // Where it stood still decides whether another one that waits for it is late to rank 0 as well.
  CHECK(count(ended.err, " is late: rank ") + count(ended.err, " are late: rank ") == 1);
  const std::string said = ended.err.substr(std::min(ended.err.find("error: "), ended.err.size()));
  const std::string stopped(trim(read_file(run / "stopped")));
  CHECK_THAT(said.substr(0, said.find(" late: ")), Catch::Contains(cat("rank ", stopped, " on ")));
  for (const int rank : {0, 1, 2})
    CHECK(path_exists(run / cat("logs/", id, "/ranks/rank-0000", rank, ".log")));
  // The launcher ends what is left, and may itself end a moment before.
  CHECK(run_shell(cat("for i in $(seq 100); do ps -eo args | grep -q '[i]d=", id,
                      "' || exit 0; sleep 0.1; done; exit 1"),
                  run.path())
            .code == 0);
}

TEST_CASE("SIGUSR1 to mpirun saves and stops all ranks", "[dist][mpi]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  const std::string steps = "--trainer.microbatch_size=1 --trainer.num_train_steps=4000 ";
  const Ended stopped = run_shell(
      cat("mpirun --allow-run-as-root --oversubscribe -np 2 levanter train --config run.toml ",
          steps,
          "--trainer.id=run & mpi=$!; while [ ! -s logs/run/metrics.jsonl ]; do sleep 0.05; "
          "done; kill -USR1 $mpi; wait $mpi"),
      run.path());
  INFO(stopped.err);
  CHECK(stopped.code == 75);
  CHECK(count(stopped.err, "stopped and saved; the same command goes on from there") == 1);
}

TEST_CASE("the communicator mpi wants a launcher", "[dist][mpi]") {
  const SmallRun run;
  const Ended ended = run.train({"--trainer.communicator=mpi"});
  CHECK(ended.code == 2);
  CHECK_THAT(ended.err, Catch::StartsWith("error: the communicator mpi needs a launcher"));
}

TEST_CASE("a program built without MPI does not train as a crowd", "[dist]") {
  const SmallRun run;
  const std::string alone = run / "alone/levanter";  // without levanter_mpi.so beside it
  make_directories(run / "alone");
  REQUIRE(run_shell(cat("cp \"$(command -v levanter)\" '", alone, "'"), ".").code == 0);
  for (const std::string rank : {"0", "1"}) {
    const Ended ended =
        run.train({}, {.environment = {"PMI_SIZE=2", cat("PMI_RANK=", rank)}, .program = alone});
    CHECK(ended.code == 5);
    CHECK(count(ended.err, "error: levanter was built without MPI") == (rank == "0" ? 1 : 0));
  }
  CHECK_FALSE(path_exists(run / "logs"));
}

namespace {

/// A config that caches the texts of these files.
std::string records_config(const std::string& files) {
  return cat(
      "[model]\nmax_seq_len = 16\nhidden_dim = 16\nnum_layers = 1\nnum_heads = 2\n"
      "[data]\ntokenizer = { type = \"bytes\" }\ncache_dir = \"cache\"\n"
      "[data.components.records]\ntrain = [\"",
      files,
      "\"]\n[trainer]\nnum_train_steps = 2\ntrain_batch_size = 4\nmicrobatch_size = 1\n"
      "threads = 1\nlog_dir = \"logs\"\n");
}

}  // namespace

TEST_CASE("processes of mpirun make the token cache of one process", "[dist][mpi]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  std::string lines;
  for (int64_t n = 0; n < 24000; ++n)
    lines += cat("{\"text\": \"", n, " ", std::string(static_cast<size_t>(n % 80), 'x'), "\"}\n");
  for (const char* file : {"a", "b", "c"})
    write_file_atomic(run / cat("records-", file, ".jsonl"), lines);
  write_file_atomic(run / "records.toml", records_config("records-*.jsonl"));
  const std::string mpirun = "mpirun --allow-run-as-root --oversubscribe -np 3 levanter ";
  REQUIRE(run({"cache", "--config", "records.toml"}).code == 0);
  for (const std::string command : {"cache", "train"}) {
    const Ended ended = run_shell(
        cat(mpirun, command, " --config records.toml --data.cache_dir=", command, "-cache"),
        run.path());
    INFO(ended.err);
    CHECK(ended.code == 0);
    CHECK(run_shell(cat("diff -r --exclude=lock cache ", command, "-cache"), run.path()).code == 0);
  }
}

TEST_CASE("what one machine alone finds before ranks meet its first rank tells", "[dist][mpi]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  for (const auto& [local, told] : {std::pair{"0", 1}, std::pair{"1", 0}}) {
    // A process that thinks that it is one of two, and that MPI knows nothing of.
    const Ended ended = run_shell(cat("OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 "
                                      "OMPI_COMM_WORLD_LOCAL_RANK=",
                                      local, " levanter train --config run.toml"),
                                  run.path());
    INFO(ended.err);
    CHECK(ended.code != 0);
    CHECK(count(ended.err, cat("error: on ", host_name(), ": ")) == told);
  }
}

TEST_CASE("a rank that stands still does not hold a run that ends by another's error",
          "[dist][mpi][.slow]") {
  if (!can_run_mpi()) return;
  const SmallRun run;
  write_file_atomic(run / "records.toml", records_config("pipe.jsonl"));
  run_shell("sed -i /cache_dir/d records.toml", run.path());  // then nobody is called to help
  // Once the pipe is open the ranks have met, and the first reads the texts. Two minutes, which
  // ranks are given to end together, are too long.
  const Ended ended = run_shell(
      "mkfifo pipe.jsonl; mpirun --allow-run-as-root --oversubscribe -np 3 levanter train --config "
      "records.toml & mpi=$!; exec 3>pipe.jsonl; sleep 1; pkill -STOP -n -P $mpi levanter; "
      "echo '{\"other\": 1}' >&3; exec 3>&-; (sleep 60; kill -KILL $mpi) & wait $mpi",
      run.path());
  INFO(ended.err);
  CHECK(ended.code == 3);
  CHECK(count(ended.err, "error: ") == 1);
}
