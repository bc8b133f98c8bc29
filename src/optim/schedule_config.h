// The shapes that a learning rate's decay can take, and their parameters.
#pragma once

#include <span>

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
};

/// lr
struct ConstantSchedule final : LrSchedule {
  double at(double t, const Decay& decay) const override;
};

/// lr ((1 - a) ((1 + cos(pi t / D)) / 2)^exponent + a)
struct CosineSchedule final : LrSchedule {
  double exponent = 1;
  void fields(config::Fields& f) override;
  double at(double t, const Decay& decay) const override;
};

/// lr (1 - (1 - a) t / D)
struct LinearSchedule final : LrSchedule {
  double at(double t, const Decay& decay) const override;
};

/// max(lr min(1, 1 / sqrt(max(t + W, 1) / timescale)), a lr)
struct InvSqrtSchedule final : LrSchedule {
  double timescale = 10000;
  void fields(config::Fields& f) override;
  double at(double t, const Decay& decay) const override;
};

/// max(lr min(1, 1 / ((1 / a - 1) max(t, 1) / D + 1)), a lr)
struct InvSchedule final : LrSchedule {
  double at(double t, const Decay& decay) const override;
};

/// min(lr, B A (t B T)^b), after Shen et al. 2024, arXiv:2408.13359
struct PowerSchedule final : LrSchedule {
  double a = 4.6;
  double b = -0.51;
  void fields(config::Fields& f) override;
  double at(double t, const Decay& decay) const override;
};

/// lr ((1 - a) (1 - t / D)^power + a)
struct PolynomialSchedule final : LrSchedule {
  double power = 2;
  void fields(config::Fields& f) override;
  double at(double t, const Decay& decay) const override;
};

/// max(lr / sqrt(1 + c t / D), a lr)
struct InvSqrtDecaySchedule final : LrSchedule {
  double c = 28.6;
  void fields(config::Fields& f) override;
  double at(double t, const Decay& decay) const override;
};

}  // namespace levanter
