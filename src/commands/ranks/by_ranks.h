// Commands that the processes of a launcher run together, each as a rank.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "commands/command.h"
#include "dist/communicator.h"
#include "dist/launcher.h"
#include "train/config/train_config.h"

namespace levanter::commands {

/// What a rank does; returns its exit code.
using RankCommand = std::function<int(const TrainConfig& config, dist::Communicator& communicator)>;

/// Runs `command` as the rank that this process is, with the config that --config and the
/// overrides name.
///   words  for the config, which the overrides may change: what the launcher knows
/// error  of the command, on the ranks that have it; what keeps ranks from meeting, on the first
///        of each machine that finds it; dist::Abandoned on the others
int run_by_ranks(const Arguments& a, const dist::Launched& launched, std::vector<std::string> words,
                 const RankCommand& command);

}  // namespace levanter::commands
