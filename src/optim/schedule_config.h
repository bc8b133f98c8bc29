// The shapes that a learning rate's decay can take, and their parameters.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "config/fields.h"

namespace levanter {

/// What a decay is computed from, besides its own parameters.
struct Decay {
  double lr = 0;            ///< the peak
  double min_lr_ratio = 0;  ///< a: the decay ends at or above a lr
  double warmup = 0;        ///< steps of the cycle's warm-up, W
  double steps = 0;         ///< steps of the decay, D >= 1
  double batch_size = 1;    ///< sequences of a step, B
  double seq_length = 1;    ///< tokens of a sequence, T
};

/// Base of the shapes that `optimizer.lr_schedule` chooses.
struct LrSchedule : config::Choosable {
  void fields(config::Fields&) override {}
  /// The learning rate `t` steps into the decay, 0 <= t <= decay.steps.
  virtual double at(double t, const Decay& decay) const = 0;

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "cosine";
  /// What others call a shape that is here under another name.
  static std::string name_hint(std::string_view name);
};

}  // namespace levanter
