// Which device each rank takes, where they have memory of their own: one a rank.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "train/config/train_config.h"
#include "train/run.h"

namespace levanter::train {

/// Each rank's, as a place in what its process may use: the first there that no lower rank of the
/// same machine has taken. So ranks that see the same devices take one after the other, and ranks
/// that their launcher shows one device each take that. 0 where there is nothing to choose from.
///   devices  of each rank, Backend::devices()
/// error  kDevice where some rank is left without, naming machines and counts
std::vector<size_t> assign_devices(std::span<const dist::Place> places,
                                   std::span<const std::vector<std::string>> devices);

/// This rank's. Collective.
size_t own_device(const TrainConfig& config, const RunOptions& options,
                  dist::Communicator& communicator, std::span<const dist::Place> places);

}  // namespace levanter::train
