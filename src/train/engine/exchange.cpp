// What the ranks of a run tell each other in a step.
#include "train/engine/exchange.h"

namespace levanter::train {

StepExchange::StepExchange(dist::Communicator& communicator, const Backend& backend, Engine& engine)
    : engine_(engine),
      arrays_(communicator, backend),
      sum_(arrays_, engine.step().options.groups, engine.step().shards) {}

void StepExchange::sum_gradients() {
  sum_.reduce(engine_.subtree_sums(), engine_.total());
  if (!engine_.step().is_sharded()) return sum_.gather(engine_.total());
  dist::gather_shards(arrays_, engine_.step().norm_shards(), engine_.run_squares());
}

void StepExchange::share_parameters() {
  if (!engine_.step().is_sharded()) return;
  std::vector<dist::Shard> shards = engine_.step().shards;
  const FlatLayout& layout = engine_.step().layout;
  shards.back().end = layout.offset_of(0);  // the reports are no parameters
  dist::gather_shards(arrays_, shards, engine_.parameters());
  engine_.changed();
}

void StepExchange::gather_gradients() {
  if (engine_.step().is_sharded()) sum_.gather(engine_.total());
}

}  // namespace levanter::train
