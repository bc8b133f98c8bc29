// One rank's state in memory and the running of its compiled step.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "base/random.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/load.h"
#include "train/engine/compiled_step.h"

namespace levanter::train {

/// What loss and gradient norm of a step may be at most, for the step to be taken.
struct StepLimits {
  float loss = std::numeric_limits<float>::infinity();
  float grad_norm = std::numeric_limits<float>::infinity();
};

/// What one update reports.
struct UpdateReport {
  float loss = 0, grad_norm = 0;
  bool proceeded = false;
};

class Engine final {
 public:
  /// Allocates exactly what `step` says and binds the functions to it. The backend must outlive
  /// this.
  Engine(CompiledStep step, const Backend& backend);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Draws the initial parameters: element i of a parameter from its path's own key. Then as
  /// begin_optimizer.
  void initialise(Key key, const ProgressReport& progress = {});
  /// The optimizer's state before its first step, with the parameters as they are.
  void begin_optimizer();

  /// Lets an adapter begin as the model says that is in the parameters now.
  void begin_adapter();

  /// The state as checkpoints see it, of parameters those that this rank has; the memory is this
  /// engine's. Packed parameters are made again
  /// from it before the first run after initialise, model_targets or an update: who writes to
  /// parameters takes model_targets.
  std::vector<Tensor> model_tensors() const;
  std::vector<Tensor> model_targets();
  std::vector<Tensor> optimizer_tensors() const;
  /// The parameters that this rank writes into a checkpoint: each is some rank's. With an adapter
  /// its own alone.
  std::vector<Tensor> model_part() const;
  /// Of the optimizer's: a number that every rank keeps which has rows of a parameter is written by
  /// the first of them.
  std::vector<Tensor> optimizer_part() const;

  /// The global batch's 1 / loss tokens and the key that this step's dropout derives from.
  /// `draws`: the gradients will be those of labels that the model draws, for run_refresh.
  void begin_step(double loss_tokens, Key dropout_key, bool draws = false);
  /// Whether the first microbatch of this step and those after it measures attention too, where
  /// options.watch asks for it.
  void watch_attention(bool now);
  /// Microbatches of the global batch from the next step on: as many as it was compiled for at
  /// most, as many as there are groups at least.
  void use_microbatches(int64_t count);
  /// Of such a step, those that this rank runs or attends: see CompiledStep::rounds.
  int64_t rounds() const;
  /// Where the functions' parameters come from, of those that this rank has not. Before the first
  /// microbatch of a step that gathers; the source outlives this.
  void gather_from(GatherSource& source);

  /// Gradients of one microbatch; the microbatches of this rank come in order.
  void run_microbatch(const Rows& rows);
  /// The last one of the rank in a step, whose gradients are not added to those of other groups:
  /// finish_part does that, once the listener has heard of the part's results.
  void run_last_microbatch(const Rows& rows, ResultListener& listener);
  /// Of a part of subtree_sums(); in any thread, beside the kernels of the last microbatch.
  void finish_part(const dist::Shard& part);
  /// A microbatch that other ranks have and this one has not: it gives them its parameters. Of the
  /// labels that begin_step says.
  void attend_microbatch();
  /// The flat sums of this rank's maximal subtrees (gradients and reports), in order, after the
  /// last microbatch. Each has step().layout.elements.
  std::span<float* const> subtree_sums();
  /// Where the sum over all groups must be when update runs, of this rank's shard at least.
  float* total();
  /// Where the step is sharded: writes this rank's part of the array that tells the norm, from
  /// total(). All of it must be there when update runs.
  float* run_squares();
  /// The parameters that are trained, laid out as a gradient is: after an update this rank's shard
  /// is new, and changed() says that the others are too. Where the step gathers, the shard alone.
  float* parameters();
  void changed();
  const CompiledStep& step() const;
  /// What optimizers do at update number `step` with such gradients from total(); run_update has
  /// done it for its own.
  void run_refresh(optim::Refresh::By by, int64_t step);
  /// Update number `step`, from 0, with gradients from total(). Other limits than the default take
  /// a step that was compiled with StepOptions::limits.
  UpdateReport run_update(int64_t step, double lr, const StepLimits& limits = {});
  /// The gradients of the parameters that are trained, summed over the global batch, before they
  /// are clipped: good from the update to the next microbatch.
  std::vector<Tensor> gradients() const;
  /// After a watched update: CompiledStep::watched_values.
  std::vector<float> watched() const;
  /// The model's measures of the global batch, by metric: see models::Measure.
  std::vector<std::pair<std::string, double>> measures() const;

  /// Whether the optimizer keeps averages of this sort.
  bool keeps(optim::StateArray::Average average) const;
  /// Puts the averages of this rank's parameters in their place; the others' are to be shared then,
  /// if they are here.
  /// The parameters wait where gradients are, which are lost.
  void begin_average(optim::StateArray::Average average);
  /// Puts the parameters back, bit by bit.
  void end_average();

  /// Token losses of a microbatch of rows, [batch, position]; good until the next call.
  std::span<const float> run_evaluation(const Rows& rows);
  /// As attend_microbatch, of one of an evaluation.
  void attend_evaluation();

  /// Watches every later run, when not null.
  void observe(StepObserver* observer);
  /// Bytes that this engine holds: the sum that the plan names.
  int64_t allocated_bytes() const;

 private:
  void begin_others();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::train
