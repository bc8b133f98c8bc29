// The learning rate of every step of a run: cycles of warm-up, plateau and decay.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "optim/optimizer_config.h"

namespace levanter {

/// What a schedule needs to know of the run; the last two matter to lr_schedule = "power" only.
struct RunLength {
  int64_t num_train_steps = 0;
  int64_t train_batch_size = 1;
  int64_t max_seq_len = 1;
};

/// The learning rate as a pure function of the step.
///
/// The run is cut into cycles. Each one rises linearly from where the cycle before ended (0 at
/// first) to learning_rate over its warm-up, stays there, and decays over its last steps as
/// lr_schedule says. What would lie beyond a cycle's or the run's end is cut off. Pieces count
/// their own steps from 0, so step 0 of a warm-up has the starting value.
class Schedule final {
 public:
  /// `config` must outlive the schedule.
  Schedule(const OptimizerConfig& config, RunLength run);

  /// The learning rate of update number `step`, from 0. At and after the end of the run: the value
  /// at which the last piece ends.
  double at(int64_t step) const;

  /// The steps at which cycles begin and the last one ends: first 0, last num_train_steps.
  std::span<const int64_t> cycle_points() const { return points_; }

 private:
  enum class Shape { kWarmup, kPlateau, kDecay };
  struct Piece {
    int64_t start = 0;
    int64_t steps = 0;
    Shape shape = Shape::kPlateau;
    double from = 0;     ///< of a warm-up: its first value
    int64_t warmup = 0;  ///< of a decay: the steps of its cycle's warm-up
  };

  void add_cycle(int64_t start, int64_t steps, bool first);
  double value(const Piece& piece, int64_t t) const;

  const OptimizerConfig* config_;
  RunLength run_;
  std::vector<int64_t> points_;
  std::vector<Piece> pieces_;  ///< in order of `start`, none empty
};

}  // namespace levanter
