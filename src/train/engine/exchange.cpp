// What the ranks of a run tell each other in a step.
#include "train/engine/exchange.h"

namespace levanter::train {

StepExchange::StepExchange(dist::Communicator& communicator, const Backend& backend, Engine& engine)
    : communicator_(communicator),
      backend_(backend),
      engine_(engine),
      sum_(communicator, backend, engine.step().options.groups, engine.step().shards) {
  if (!engine.step().gathers()) return;
  gather_.emplace(communicator, engine.step().owners());
  engine.gather_from(*gather_);
}

void StepExchange::sum_gradients() {
  sum_.reduce(engine_.subtree_sums(), engine_.total());
  if (!engine_.step().is_sharded()) return sum_.gather(engine_.total());
  dist::gather_shards(communicator_, backend_, engine_.step().norm_shards(), engine_.run_squares(),
                      host_);
}

void StepExchange::share_parameters() {
  if (!engine_.step().is_sharded() || engine_.step().gathers()) return;
  std::vector<dist::Shard> shards = engine_.step().shards;
  const FlatLayout& layout = engine_.step().layout;
  shards.back().end = layout.offset_of(0);  // the reports are no parameters
  dist::gather_shards(communicator_, backend_, shards, engine_.parameters(), host_);
  engine_.changed();
}

void StepExchange::gather_gradients() {
  if (engine_.step().is_sharded()) sum_.gather(engine_.total());
}

}  // namespace levanter::train
