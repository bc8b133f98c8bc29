// One rank of a run: its backend, its state, its part of every batch, and the loop over the steps.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/rows/loader.h"
#include "dist/communicator.h"
#include "dist/crew.h"
#include "train/engine/exchange.h"
#include "train/engine/nan_guard.h"
#include "train/guard/guard.h"
#include "train/hooks.h"
#include "train/start.h"
#include "train/watch/parameter_watch.h"
#include "train/watch/step_trace.h"

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
  /// the communicator outlive it. Collective.
  Rank(Run& run, dist::Communicator& communicator);

  Engine& engine() { return engine_; }
  StepExchange& exchange() { return exchange_; }
  dist::Crew& crew() { return crew_; }
  const Guard& guard() const { return guard_; }
  const ParameterWatch& watch() const { return watch_; }
  /// After the last meeting: no step comes any more.
  void end() { exchange_.end(); }
  /// See dist::ArrayExchange::way.
  const std::string& way_of_arrays() const { return exchange_.way(); }

  /// Steps until the end, until asked to stop, or until the guard goes back. After each
  /// step the first rank's hooks may call the crew. Collective.
  /// error  kGuard at a step that the guard stops at
  RankEnd run(std::span<const std::unique_ptr<Hook>> hooks, StepTrace& trace);
  /// Step `step`, counted from 0, within info.limits; fills in its report. Collective. False when
  /// asked to stop before the state was changed; then no rank has changed its own.
  bool one_step(int64_t step, const data::Batch& batch,
                std::span<const std::unique_ptr<Hook>> hooks, StepInfo& info);

 private:
  /// What follows a step: where the run ends here, how.
  std::optional<RankEnd> after_step(const StepInfo& info,
                                    std::span<const std::unique_ptr<Hook>> hooks);
  /// Of the batch, over all ranks. False where some rank was asked to stop before its last
  /// microbatch, or where the sum begins after that, before the sum. Collective.
  bool sum_gradients(const data::Batch& batch, StepInfo& info);
  /// Whether some rank is asked to stop; compares them where the sum does not overlap. Collective.
  bool some_stop(bool overlaps, StepInfo& info);
  /// Seconds until now that this rank has worked since all have met; adds to info.waited.
  double worked(StepInfo& info);
  /// Every rank has its gradients, or some is asked to stop: then true. Notes which was the slowest
  /// to have them, this one after `seconds` of work. Collective.
  bool compare(double seconds, StepInfo& info);
  data::ExampleSource training_source() const;
  /// This rank's rows: those of its groups' microbatches.
  data::LoaderOptions loading() const;
  /// Where an optimizer wants it after this step: goes through the batch again with labels that the
  /// model draws. The step is taken, so no stop cuts this short. Collective.
  void refresh_by_drawn(int64_t step, const data::Batch& batch);
  Rows rows_of(const data::Batch& batch, int64_t round) const;
  /// The microbatch of rows_of; where there are none left, this rank's part in those of others.
  void run_round(const data::Batch& batch, int64_t round);
  /// Whether the step is left before the next microbatch. Collective where parameters are gathered:
  /// then no rank may leave alone.
  bool stops();
  [[noreturn]] void stop_at(const StepInfo& info) const;

  using Clock = std::chrono::steady_clock;

  const Run& run_;
  dist::Communicator& communicator_;
  dist::Crew crew_;
  Engine engine_;
  StepExchange exchange_;
  Schedule schedule_;
  NanGuard nan_guard_;
  Guard guard_;
  ParameterWatch watch_;
  Clock::time_point met_ = Clock::now();  ///< when all ranks were through with the step before
};

}  // namespace levanter::train
