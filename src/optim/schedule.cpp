// The learning rate of every step: where its cycle begins, warms up, stays and decays.
#include "optim/schedule.h"

#include <algorithm>
#include <cmath>

namespace levanter {

namespace {

/// A length as the config writes it: up to 1 a fraction of `whole`, above 1 steps; at most `limit`.
int64_t steps_of(double length, int64_t whole, int64_t limit) {
  const double steps = length <= 1 ? std::trunc(length * static_cast<double>(whole)) : length;
  return steps >= static_cast<double>(limit) ? limit : static_cast<int64_t>(steps);
}

/// Ends of the cycles before the last one, possibly beyond the run's end.
std::vector<int64_t> inner_points(const OptimizerConfig& config, int64_t total) {
  std::vector<int64_t> points;
  const auto& cycles = config.cycles;
  const auto& lengths = config.cycle_length;
  if (cycles.listed) {
    points = cycles.values;
  } else if (!cycles.values.empty()) {
    const int64_t count = std::min(cycles.values[0], total);
    for (int64_t i = 1; i < count; ++i)
      points.push_back(static_cast<int64_t>(static_cast<double>(total) /
                                            static_cast<double>(count) * static_cast<double>(i)));
  } else if (lengths.listed) {
    int64_t end = 0;
    for (const double length : lengths.values)
      points.push_back(end = std::min(total, end + steps_of(length, total, total)));
  } else if (!lengths.values.empty()) {
    // Multiples of the length; the last cycle takes what is left over, so it may be longer.
    const int64_t length = std::max<int64_t>(1, steps_of(lengths.values[0], total, total));
    for (int64_t end = length; end <= total - length; end += length) points.push_back(end);
  }
  return points;
}

}  // namespace

Schedule::Schedule(const OptimizerConfig& config, RunLength run) : config_(&config), run_(run) {
  points_.push_back(0);
  for (const int64_t end : inner_points(config, run.num_train_steps))
    if (end > points_.back() && end < run.num_train_steps) points_.push_back(end);
  points_.push_back(std::max<int64_t>(run.num_train_steps, 0));
  for (size_t i = 0; i + 1 < points_.size(); ++i)
    add_cycle(points_[i], points_[i + 1] - points_[i], i == 0);
}

void Schedule::add_cycle(int64_t start, int64_t steps, bool first) {
  const double from = pieces_.empty() ? 0 : value(pieces_.back(), pieces_.back().steps);
  const int64_t warmup = steps_of(first ? config_->warmup : config_->rewarmup, steps, steps);
  const int64_t rest = steps - warmup;
  const int64_t decay = config_->decay ? steps_of(*config_->decay, steps, rest) : rest;
  const int64_t plateau = rest - decay;
  const auto add = [&](Shape shape, int64_t length) {
    if (length > 0)
      pieces_.push_back(
          {.start = start, .steps = length, .shape = shape, .from = from, .warmup = warmup});
    start += length;
  };
  add(Shape::kWarmup, warmup);
  add(Shape::kPlateau, plateau);
  add(Shape::kDecay, decay);
}

double Schedule::at(int64_t step) const {
  if (pieces_.empty()) return config_->learning_rate;
  const auto after =
      std::upper_bound(pieces_.begin(), pieces_.end(), std::max<int64_t>(step, 0),
                       [](int64_t wanted, const Piece& piece) { return wanted < piece.start; });
  const Piece& piece = *std::prev(after);
  return value(piece, std::clamp<int64_t>(step - piece.start, 0, piece.steps));
}

double Schedule::value(const Piece& piece, int64_t t) const {
  const double lr = config_->learning_rate;
  const auto at = static_cast<double>(t), steps = static_cast<double>(piece.steps);
  switch (piece.shape) {
    case Shape::kWarmup:
      return piece.from + (lr - piece.from) * (at / steps);
    case Shape::kPlateau:
      return lr;
    case Shape::kDecay:
      break;
  }
  return config_->lr_schedule->at(at, {.lr = lr,
                                       .min_lr_ratio = config_->min_lr_ratio,
                                       .warmup = static_cast<double>(piece.warmup),
                                       .steps = steps,
                                       .batch_size = static_cast<double>(run_.train_batch_size),
                                       .seq_length = static_cast<double>(run_.max_seq_len)});
}

}  // namespace levanter
