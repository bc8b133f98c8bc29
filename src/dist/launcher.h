// What the program that started this process has put into its environment: mpirun, srun.
#pragma once

#include <cstdint>
#include <string>

namespace levanter::dist {

/// This process among those that a launcher has started together.
struct Launched {
  std::string launcher = {};  ///< "Open MPI's mpirun", "srun"; "" where there is none
  int64_t ranks = 1, rank = 0;
  bool leads_host =
      true;  ///< the first rank of its machine; where the launcher does not say, of all
};

/// Reads, in this order, the variables of Open MPI (OMPI_COMM_WORLD_SIZE, _RANK), of PMI as MPICH
/// and Intel MPI set them (PMI_SIZE, PMI_RANK) and of a step of Slurm's, also with PMIx
/// (SLURM_STEP_NUM_TASKS, SLURM_PROCID: a batch script itself is no step).
/// The place on a machine is OMPI_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID or SLURM_LOCALID.
/// Values that make no sense count as absent.
Launched read_launched();

/// Leaves the first rank time to tell what all ranks find alike, before another one fails: a
/// launcher ends all of them as soon as one has failed.
void let_first_rank_tell();

}  // namespace levanter::dist
