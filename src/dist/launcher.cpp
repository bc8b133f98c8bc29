// What the program that started this process has put into its environment: mpirun, srun.
#include "dist/launcher.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <thread>

namespace levanter::dist {

namespace {

constexpr std::chrono::seconds kTimeToTell{2};

struct Variables {
  const char* launcher;
  const char* ranks;
  const char* rank;
  const char* local_rank;
};
constexpr Variables kLaunchers[] = {
    {"Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"mpiexec", "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"},
    {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"},
};

std::optional<int64_t> number_in(const char* variable) {
  const char* const value = std::getenv(variable);
  if (!value) return std::nullopt;
  const std::string_view text = value;
  int64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Launched read_launched() {
  for (const Variables& variables : kLaunchers) {
    const std::optional<int64_t> ranks = number_in(variables.ranks);
    const std::optional<int64_t> rank = number_in(variables.rank);
    if (!ranks || !rank || *rank < 0 || *rank >= *ranks) continue;
    const int64_t local = number_in(variables.local_rank).value_or(*rank);
    return {variables.launcher, *ranks, *rank, local == 0};
  }
  return {};
}

void let_first_rank_tell() { std::this_thread::sleep_for(kTimeToTell); }

}  // namespace levanter::dist
