// What happens after a step: metrics to the trackers, evaluation, checkpoints.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "data/text_data.h"
#include "dist/crew.h"
#include "trackers/tracker.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/load.h"
#include "train/adapter/base.h"
#include "train/engine/engine.h"
#include "train/engine/exchange.h"
#include "train/guard/guard.h"
#include "train/hf/folders.h"
#include "train/run_folder.h"
#include "train/config/train_config.h"
#include "train/watch/control.h"
#include "train/watch/parameter_watch.h"

namespace levanter::train {

/// What a hook sees of a step that has been done.
struct StepInfo {
  int64_t step = 0;  ///< updates done, from 1
  bool last = false;
  int64_t place = 0;  ///< of its batch in the order of all
  StepLimits limits;  ///< that it was run with
  UpdateReport report;
  Verdict verdict;
  double lr = 0;
  double duration = 0;      ///< seconds of computation: no loading, no hooks
  double loading_time = 0;  ///< seconds that the step waited for its batch
  double hook_time = 0;     ///< seconds of the hooks after the step before
  double waited = 0;        ///< seconds of the duration that exchanges waited for other ranks
  /// Of several ranks the one that took longest until it had its gradients, and by how many seconds
  /// longer than the median rank.
  std::optional<int64_t> slowest_rank;
  double straggled = 0;
};

class Hook {
 public:
  virtual ~Hook() = default;
  /// For traces.
  virtual const char* name() const = 0;
  virtual void after_step(const StepInfo& info) = 0;
  /// The step was not taken; the state is that of the step before. Comes before after_step, which
  /// is left out where the run goes no further.
  virtual void refused(const StepInfo& /*info*/) {}
  /// Before the state changes.
  virtual void before_update() {}
  /// The run ends here because it was asked to, after `step` updates.
  virtual void stopped(int64_t /*step*/) {}
};

/// What the hooks of a run share; all of it outlives them.
struct HookContext {
  const TrainConfig& config;
  const data::TextData& data;
  const Backend& backend;
  Engine& engine;
  StepExchange& exchange;
  std::span<const Tensor> parameters;  ///< all of them: see AllParameters
  Tracker& tracker;
  Summary& summary;
  RunFolder& folder;
  dist::Crew& crew;
  const Guard& guard;
  const ParameterWatch& watch;
  Requests& requests;  ///< after the step that has just been done
  int64_t start_step = 0;
  int64_t first_step = 0;      ///< steps of another run that this one was begun with
  BestCheckpoint kept = {};    ///< what is there already
  BaseRecord base = {};        ///< of an adapter
  int64_t epoch_length = 1;    ///< rows
  std::string reference = {};  ///< the model that preferences are measured from: see reference.h
};

/// Another rank than the first: its share of every evaluation, when it is called to it. All of
/// these outlive the crew's last call.
void serve_evaluation(dist::Crew& crew, const TrainConfig& config, const data::TextData& data,
                      StepExchange& exchange, Engine& engine);
/// The first rank: the validation losses of the state as it is, with the help of its crew, and
/// those of optimizer.ema as eval/ema/...
Metrics evaluate_now(const HookContext& context);
/// Rows of such an evaluation, 0 where there is nothing to validate with.
int64_t evaluation_rows(const TrainConfig& config, const data::TextData& data);

using Average = optim::StateArray::Average;
/// The first rank: does `work` while such averages stand in the parameters' place on every rank;
/// kNo: with the parameters as they are. The gradients are lost.
void with_averages(const HookContext& context, Average average, const std::function<void()>& work);

/// Reads what people ask for: comes before those that do it.
std::unique_ptr<Hook> make_control_hook(const HookContext& context);
/// What trainer.watch measures, to the trackers. Comes before those that lose the gradients.
std::unique_ptr<Hook> make_watch_hook(const HookContext& context);
/// What the model writes by trainer.sample, to the trackers; null where it writes nothing. Comes
/// before the hook of the checkpoints, which read the parameters while the run goes on.
std::unique_ptr<Hook> make_sample_hook(const HookContext& context);
/// Loss, learning rate, norm and throughput of every step.
std::unique_ptr<Hook> make_metrics_hook(const HookContext& context);
/// Says which steps were not taken and why, counts them, and keeps bundles of their batches.
std::unique_ptr<Hook> make_guard_hook(const HookContext& context);
/// Validation every trainer.steps_per_eval steps, where it is asked for and after the last; left
/// out when a stop comes meanwhile.
std::unique_ptr<Hook> make_evaluation_hook(const HookContext& context);
/// Checkpoints as trainer.checkpointer says, after the last step, and when the run is stopped. Only
/// the last two have to succeed: another one that fails is tried again while the run goes on.
std::unique_ptr<Hook> make_checkpoint_hook(const HookContext& context);
/// Another rank than the first: its part of every checkpoint, when it is called to it; nothing
/// where the first has all of the state. The crew outlives the hook, and calls it no more then.
std::unique_ptr<Hook> make_checkpoint_part_hook(Engine& engine, dist::Crew& crew);
/// What such a checkpoint holds besides the tensors.
CheckpointContents checkpoint_contents(const HookContext& context, int64_t step,
                                       const BestCheckpoint& kept);
/// The first rank: writes <folder>/step-N with the help of its crew, as save_checkpoint does.
void save_now(const HookContext& context, const std::string& folder, CheckpointContents contents);
/// Those of averages, null where the folders are of none. Comes before the hook of the checkpoints,
/// which read the parameters while the run goes on.
std::unique_ptr<Hook> make_average_save_hook(const HookContext& context, HfFolders& folders);
/// Hugging Face folders after the steps in which they are due; after the last one, what is missing
/// is made from checkpoints. Comes after the hook of the checkpoints.
std::unique_ptr<Hook> make_hf_save_hook(const HookContext& context, HfFolders& folders);

}  // namespace levanter::train
