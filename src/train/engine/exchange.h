// What the ranks of a run tell each other in a step: sums of gradients, and what a rank that
// updates a part of the parameters needs from the others.
#pragma once

#include "dist/array_exchange.h"
#include "dist/gradient_sum.h"
#include "train/engine/engine.h"

namespace levanter::train {

/// One rank's end; its calls are collective.
class StepExchange final {
 public:
  /// All of these outlive it. Collective.
  StepExchange(dist::Communicator& communicator, const Backend& backend, Engine& engine);

  /// After the last microbatch: the engine can then update.
  void sum_gradients();
  /// After the update: the engine then has all parameters.
  void share_parameters();
  /// Until the next microbatch: the engine then has the gradients of all parameters.
  void gather_gradients();
  /// No exchange comes any more: see dist::ArrayExchange::end.
  void end() { arrays_.end(); }
  /// How arrays come to other ranks: see dist::ArrayExchange.
  const std::string& way() const { return arrays_.way(); }

 private:
  Engine& engine_;
  dist::ArrayExchange arrays_;
  dist::GradientSum sum_;
};

}  // namespace levanter::train
