// What launchers of processes say in the environment.
#include "dist/launcher.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/strings.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Variables of this process while it lives.
class Variables {
 public:
  explicit Variables(std::vector<std::pair<std::string, std::string>> values)
      : values_(std::move(values)) {
    for (const auto& [name, value] : values_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Variables() {
    for (const auto& [name, value] : values_) ::unsetenv(name.c_str());
  }
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

/// As in a process that no launcher has started, while it lives.
class NoLauncher {
 public:
  NoLauncher() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK",
                             "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID",
                             "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"}) {
      if (const char* value = std::getenv(name)) former_.emplace_back(name, value);
      ::unsetenv(name);
    }
  }
  ~NoLauncher() {
    for (const auto& [name, value] : former_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  NoLauncher(const NoLauncher&) = delete;
  NoLauncher& operator=(const NoLauncher&) = delete;

 private:
  std::vector<std::pair<std::string, std::string>> former_;
};

}  // namespace

TEST_CASE("a launcher says how many ranks there are and which this one is", "[dist]") {
  const NoLauncher none;
  CHECK(dist::read_launched().ranks == 1);
  CHECK(dist::read_launched().launcher.empty());
  const auto check = [](std::vector<std::pair<std::string, std::string>> values,
                        const std::string& launcher, int64_t ranks, int64_t rank) {
    const Variables variables(std::move(values));
    const dist::Launched launched = dist::read_launched();
    CHECK(launched.launcher == launcher);
    CHECK(launched.ranks == ranks);
    CHECK(launched.rank == rank);
  };
  check({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}}, "Open MPI's mpirun", 4, 3);
  check({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}, "mpiexec", 2, 1);
  check({{"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "5"}}, "srun", 8, 5);
  // A batch script of Slurm's is no step, and does not start ranks.
  check({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}, "", 1, 0);
  check({{"PMI_SIZE", "2"}}, "", 1, 0);
  check({{"PMI_SIZE", "2"}, {"PMI_RANK", "2"}}, "", 1, 0);
  check({{"PMI_SIZE", "two"}, {"PMI_RANK", "0"}}, "", 1, 0);
}

TEST_CASE("a launcher says which ranks are the first of their machines", "[dist]") {
  const NoLauncher none;
  CHECK(dist::read_launched().leads_host);
  for (const auto& [local, leads] : {std::pair{"0", true}, std::pair{"1", false}}) {
    for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
      const std::string kind(name);
      const std::string prefix = kind[0] == 'O' ? "OMPI_COMM_WORLD_" : "PMI_";
      const bool slurm = kind[0] == 'S';
      const Variables variables({{slurm ? "SLURM_STEP_NUM_TASKS" : prefix + "SIZE", "4"},
                                 {slurm ? "SLURM_PROCID" : prefix + "RANK", "2"},
                                 {name, local}});
      CHECK(dist::read_launched().leads_host == leads);
    }
  }
  const auto leads = [](const char* rank) {
    const Variables variables({{"PMI_SIZE", "4"}, {"PMI_RANK", rank}});
    return dist::read_launched().leads_host;
  };
  CHECK(leads("0"));  // where it does not say, the first of all stands for them
  CHECK_FALSE(leads("2"));
}

TEST_CASE("the first rank tells what all find alike, though another one ends before", "[dist]") {
  // A launcher that ends all processes as soon as one of them has failed.
  const SmallRun run;
  const std::string rank = "env OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=";
  for (const std::string command :
       {"eval --checkpoint logs/run", "train --sed", "train --replay logs/run/replay"}) {
    const Ended ended = run_shell(
        cat("(sleep 0.2; exec ", rank, "0 levanter ", command, ") & first=$!; ", rank,
            "1 levanter ", command, "; code=$?; kill -KILL $first; wait $first; exit $code"),
        run.path());
    INFO(command << ": " << ended.err);
    CHECK(ended.code == 2);
    CHECK_THAT(ended.err, Catch::Contains("error: levanter "));
  }
}
