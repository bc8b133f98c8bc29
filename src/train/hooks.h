// What happens after a step: metrics to the trackers, evaluation, checkpoints.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/text_data.h"
#include "trackers/tracker.h"
#include "train/checkpoint_writer.h"
#include "train/engine.h"
#include "train/run_folder.h"
#include "train/train_config.h"

namespace levanter::train {

/// What a hook sees of a step that has been done.
struct StepInfo {
  int64_t step = 0;  ///< updates done, from 1
  bool last = false;
  UpdateReport report;
  double lr = 0;
  double duration = 0;      ///< seconds of computation: no loading, no hooks
  double loading_time = 0;  ///< seconds that the step waited for its batch
  double hook_time = 0;     ///< seconds of the hooks after the step before
};

class Hook {
 public:
  virtual ~Hook() = default;
  virtual void after_step(const StepInfo& info) = 0;
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
  Tracker& tracker;
  Summary& summary;
  RunFolder& folder;
  int64_t start_step = 0;
};

/// The validation losses of the state as it is.
Metrics evaluate_now(const HookContext& context);

/// Loss, learning rate, norm and throughput of every step.
std::unique_ptr<Hook> make_metrics_hook(const HookContext& context);
/// Validation every trainer.steps_per_eval steps and after the last; left out when a stop comes
/// meanwhile.
std::unique_ptr<Hook> make_evaluation_hook(const HookContext& context);
/// Checkpoints as trainer.checkpointer says, after the last step, and when the run is stopped.
std::unique_ptr<Hook> make_checkpoint_hook(const HookContext& context);
/// Hugging Face folders every hf_save_steps steps and after the last.
std::unique_ptr<Hook> make_hf_save_hook(const HookContext& context);

}  // namespace levanter::train
