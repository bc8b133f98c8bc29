// One rank of a run: its backend, its state, its part of every batch, and the loop over the steps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "data/rows/loader.h"
#include "dist/communicator.h"
#include "dist/crew.h"
#include "train/engine/exchange.h"
#include "train/engine/nan_guard.h"
#include "train/guard/guard.h"
#include "train/hooks.h"
#include "train/start.h"

namespace levanter::train {

/// The first rank releases its crew, which has followed until then. Collective.
void meet(dist::Crew& crew);
/// Where a rank's steps end, and whether the run goes on from an earlier one.
struct RankEnd {
  int64_t step = 0;  ///< steps done
  std::optional<Rollback> rollback = {};
};

class Rank final {
 public:
  /// Its engine, of the run's compiled step, holds the state that the run begins with. The run and
  /// the communicator outlive it.
  Rank(Run& run, dist::Communicator& communicator);

  Engine& engine() { return engine_; }
  dist::Crew& crew() { return crew_; }
  const Guard& guard() const { return guard_; }

  /// Steps until the end, until asked to stop, or until the guard goes back. After each
  /// step the first rank's hooks may call the crew. Collective.
  /// error  kGuard at a step that the guard stops at
  RankEnd run(std::span<const std::unique_ptr<Hook>> hooks);
  /// Step `step`, counted from 0, within info.limits; fills in its report. Collective. False when
  /// asked to stop before the state was changed; then no rank has changed its own.
  bool one_step(int64_t step, const data::Batch& batch,
                std::span<const std::unique_ptr<Hook>> hooks, StepInfo& info);

 private:
  data::ExampleSource training_source() const;
  /// This rank's rows: those of its groups' microbatches.
  data::LoaderOptions loading() const;
  /// Where an optimizer wants it after this step: goes through the batch again with labels that the
  /// model draws. The step is taken, so no stop cuts this short. Collective.
  void refresh_by_drawn(int64_t step, const data::Batch& batch);
  [[noreturn]] void stop_at(const StepInfo& info) const;

  const Run& run_;
  dist::Communicator& communicator_;
  dist::Crew crew_;
  Engine engine_;
  StepExchange exchange_;
  Schedule schedule_;
  NanGuard nan_guard_;
  Guard guard_;
};

}  // namespace levanter::train
