// What the ranks of a run tell each other in a step: sums of gradients, and what a rank that
// updates a part of the parameters needs from the others.
#pragma once

#include "dist/communicator.h"
#include "dist/gradient_sum.h"
#include "train/engine/engine.h"

namespace levanter::train {

/// Brings every rank's parameters to all, where each has changed its own; `host` is room for them.
/// Collective.
void share_parameters(dist::Communicator& communicator, const Backend& backend, Engine& engine,
                      std::vector<std::byte>& host);

/// The averages of the parameters in their place, on every rank, while it lives. Making and ending
/// it are collective. The gradients are lost.
class AverageScope final {
 public:
  /// The engine, whose optimizer keeps such averages, outlives it.
  AverageScope(dist::Communicator& communicator, const Backend& backend, Engine& engine,
               optim::StateArray::Average average);
  ~AverageScope() { engine_.end_average(); }
  AverageScope(const AverageScope&) = delete;
  AverageScope& operator=(const AverageScope&) = delete;

 private:
  Engine& engine_;
};

/// One rank's end; its calls are collective.
class StepExchange final {
 public:
  /// All of these outlive it.
  StepExchange(dist::Communicator& communicator, const Backend& backend, Engine& engine);

  /// After the last microbatch: the engine can then update.
  void sum_gradients();
  /// After the update: the engine then has all parameters.
  void share_parameters();
  /// Until the next microbatch: the engine then has the gradients of all parameters.
  void gather_gradients();

 private:
  dist::Communicator& communicator_;
  const Backend& backend_;
  Engine& engine_;
  dist::GradientSum sum_;
  std::vector<std::byte> host_;
};

}  // namespace levanter::train
