// What the ranks of a run tell each other in a step.
#include "train/engine/exchange.h"

#include <utility>

#include "dist/watch.h"

namespace levanter::train {

AverageScope::AverageScope(StepExchange& exchange, Engine& engine,
                           optim::StateArray::Average average)
    : engine_(engine) {
  engine_.begin_average(average);
  exchange.share_parameters();
}

StepExchange::StepExchange(dist::Communicator& communicator, const Backend& backend, Engine& engine)
    : engine_(engine),
      arrays_(communicator, backend),
      sum_(arrays_, engine.step().options.groups, engine.step().shards) {
  if (engine.step().gathers()) {
    gather_.emplace(communicator, engine.step().owners());
    engine.gather_from(*gather_);
  } else if (communicator.size() > 1 && backend.is_host()) {
    overlapped_.emplace(engine, sum_);
  }
}

ResultListener& StepExchange::begin_sum() {
  begun_ = true;
  overlapped_->begin();
  return *overlapped_;
}

void StepExchange::sum_gradients() {
  if (std::exchange(begun_, false)) {
    const double waited = overlapped_->finish();
    if (dist::Watch* const watch = arrays_.communicator().watch()) watch->add_waited(waited);
  } else {
    sum_.reduce(engine_.subtree_sums(), engine_.total());
  }
  if (engine_.step().is_sharded())
    dist::gather_shards(arrays_, engine_.step().norm_shards(), engine_.run_squares());
  else
    sum_.gather(engine_.total());
}

void StepExchange::share_parameters() {
  if (!engine_.step().is_sharded() || engine_.step().gathers()) return;
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
