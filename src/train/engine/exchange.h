// What the ranks of a run tell each other in a step: sums of gradients, and what a rank that
// updates a part of the parameters needs from the others.
#pragma once

#include <optional>

#include "dist/array_exchange.h"
#include "dist/gradient_sum.h"
#include "dist/parameter_gather.h"
#include "train/engine/engine.h"
#include "train/engine/overlapped_sum.h"

namespace levanter::train {

/// One rank's end; its calls are collective.
class StepExchange final {
 public:
  /// All of these outlive it. The engine runs nothing that gathers after it. Collective.
  StepExchange(dist::Communicator& communicator, const Backend& backend, Engine& engine);

  /// Whether the sum of a step may begin before the gradients are all there: between ranks whose
  /// kernels run in the host's memory, and which then gather nothing.
  bool overlaps() const { return overlapped_.has_value(); }
  /// Then, before the last microbatch: what hears of its results.
  ResultListener& begin_sum();
  /// After the last microbatch: the engine can then update.
  void sum_gradients();
  /// After the update: the engine then has all parameters, but where they are gathered.
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
  std::optional<dist::ParameterGather> gather_;
  std::optional<OverlappedSum> overlapped_;
  bool begun_ = false;  ///< the overlapped sum of this step
};

/// The averages of the parameters in their place, on every rank, while it lives. Making and ending
/// it are collective. The gradients are lost. Where parameters are gathered each rank has its own
/// averages so, and those of others come as their parameters do.
class AverageScope final {
 public:
  /// Both outlive it, and the engine's optimizer keeps such averages.
  AverageScope(StepExchange& exchange, Engine& engine, optim::StateArray::Average average);
  ~AverageScope() { engine_.end_average(); }
  AverageScope(const AverageScope&) = delete;
  AverageScope& operator=(const AverageScope&) = delete;

 private:
  Engine& engine_;
};

}  // namespace levanter::train
