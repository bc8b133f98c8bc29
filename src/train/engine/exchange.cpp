// What the ranks of a run tell each other in a step.
#include "train/engine/exchange.h"

namespace levanter::train {

void share_parameters(dist::Communicator& communicator, const Backend& backend, Engine& engine,
                      std::vector<std::byte>& host) {
  if (!engine.step().is_sharded()) return;
  std::vector<dist::Shard> shards = engine.step().shards;
  const FlatLayout& layout = engine.step().layout;
  shards.back().end = layout.offset_of(0);  // the reports are no parameters
  dist::gather_shards(communicator, backend, shards, engine.parameters(), host);
  engine.changed();
}

AverageScope::AverageScope(dist::Communicator& communicator, const Backend& backend, Engine& engine,
                           optim::StateArray::Average average)
    : engine_(engine) {
  engine_.begin_average(average);
  std::vector<std::byte> host;
  share_parameters(communicator, backend, engine_, host);
}

StepExchange::StepExchange(dist::Communicator& communicator, const Backend& backend, Engine& engine)
    : communicator_(communicator),
      backend_(backend),
      engine_(engine),
      sum_(communicator, backend, engine.step().options.groups, engine.step().shards) {}

void StepExchange::sum_gradients() {
  sum_.reduce(engine_.subtree_sums(), engine_.total());
  if (!engine_.step().is_sharded()) return sum_.gather(engine_.total());
  dist::gather_shards(communicator_, backend_, engine_.step().norm_shards(), engine_.run_squares(),
                      host_);
}

void StepExchange::share_parameters() {
  train::share_parameters(communicator_, backend_, engine_, host_);
}

void StepExchange::gather_gradients() {
  if (engine_.step().is_sharded()) sum_.gather(engine_.total());
}

}  // namespace levanter::train
