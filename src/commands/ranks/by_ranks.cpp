// Commands that the processes of a launcher run together, each as a rank.
#include "commands/ranks/by_ranks.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/strings.h"

namespace levanter::commands {

int run_by_ranks(const Arguments& a, const dist::Launched& launched, std::vector<std::string> words,
                 const RankCommand& command) {
  words.insert(words.end(), a.overrides.begin(), a.overrides.end());
  int code = 0;
  bool met = false;
  const auto as_rank = [&](dist::Communicator& communicator) {
    met = true;
    const TrainConfig config =
        dist::together(communicator, [&] { return load_train_config(a.text("config"), words); });
    code = command(config, communicator);
  };
  try {
    dist::run_ranks(dist::entry("mpi"), launched.ranks, as_rank);
  } catch (const Error& error) {
    if (met || launched.rank == 0) throw;
    // What keeps ranks from meeting, such as a library that is not there, all ranks of a machine
    // find alike and maybe no other: the first of each tells it.
    if (!launched.leads_host) {
      dist::let_first_rank_tell();
      throw dist::Abandoned(error.kind());
    }
    throw Error(error.kind(), cat("on ", host_name(), ": ", error.message()))
        .at(error.at())
        .hint(error.hint());
  }
  return code;
}

}  // namespace levanter::commands
