// The shapes that a learning rate's decay can take, and their parameters.
#include "optim/schedule_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace levanter {
namespace {

/// lr
struct ConstantSchedule final : LrSchedule {
  double at(double, const Decay& d) const override { return d.lr; }
};

/// lr ((1 - a) ((1 + cos(pi t / D)) / 2)^exponent + a)
struct CosineSchedule final : LrSchedule {
  double exponent = 1;
  void fields(config::Fields& f) override {
    f("exponent", exponent, "power of the cosine's half wave").above(0);
  }
  double at(double t, const Decay& d) const override {
    const double wave = (1 + std::cos(std::numbers::pi * t / d.steps)) / 2;
    return d.lr * ((1 - d.min_lr_ratio) * std::pow(wave, exponent) + d.min_lr_ratio);
  }
};

/// lr (1 - (1 - a) t / D)
struct LinearSchedule final : LrSchedule {
  double at(double t, const Decay& d) const override {
    return d.lr * (1 - (1 - d.min_lr_ratio) * t / d.steps);
  }
};

/// max(lr min(1, 1 / sqrt(max(t + W, 1) / timescale)), a lr)
struct InvSqrtSchedule final : LrSchedule {
  double timescale = 10000;
  void fields(config::Fields& f) override {
    f("timescale", timescale, "steps, the warm-up's included, after which the rate begins to fall")
        .above(0)
        .unit("steps");
  }
  double at(double t, const Decay& d) const override {
    const double factor = 1 / std::sqrt(std::max(t + d.warmup, 1.0) / timescale);
    return std::max(d.lr * std::min(1.0, factor), d.min_lr_ratio * d.lr);
  }
};

/// max(lr min(1, 1 / ((1 / a - 1) max(t, 1) / D + 1)), a lr)
struct InvSchedule final : LrSchedule {
  double at(double t, const Decay& d) const override {
    if (d.min_lr_ratio == 0) return 0;  // the limit for t > 0
    const double factor = 1 / ((1 / d.min_lr_ratio - 1) * std::max(t, 1.0) / d.steps + 1);
    return std::max(d.lr * std::min(1.0, factor), d.min_lr_ratio * d.lr);
  }
};

/// min(lr, B A (t B T)^b), after Shen et al. 2024, arXiv:2408.13359
struct PowerSchedule final : LrSchedule {
  double a = 4.6, b = -0.51;
  void fields(config::Fields& f) override {
    f("A", a, "factor of the power law").above(0);
    f("b", b, "exponent of the power law, in tokens").at_most(0);
    f.dropped("batch_size", "it is trainer.train_batch_size");
    f.dropped("seq_length", "it is model.max_seq_len");
  }
  double at(double t, const Decay& d) const override {
    const double tokens = t * d.batch_size * d.seq_length;
    return std::min(d.lr, d.batch_size * a * std::pow(tokens, b));
  }
};

/// lr ((1 - a) (1 - t / D)^power + a)
struct PolynomialSchedule final : LrSchedule {
  double power = 2;
  void fields(config::Fields& f) override {
    f("power", power, "power of the part of the decay that is left").above(0);
  }
  double at(double t, const Decay& d) const override {
    return d.lr * ((1 - d.min_lr_ratio) * std::pow(1 - t / d.steps, power) + d.min_lr_ratio);
  }
};

/// max(lr / sqrt(1 + c t / D), a lr)
struct InvSqrtDecaySchedule final : LrSchedule {
  double c = 28.6;
  void fields(config::Fields& f) override {
    f("c", c, "how far it falls: at the end the rate is 1 / sqrt(1 + c) of its peak").at_least(0);
  }
  double at(double t, const Decay& d) const override {
    return std::max(d.min_lr_ratio * d.lr, d.lr / std::sqrt(1 + c * t / d.steps));
  }
};

}  // namespace

std::span<const config::ChoiceEntry> LrSchedule::choices() {
  static constexpr config::ChoiceEntry kChoices[] = {
      {"cosine", "half a cosine wave down to min_lr_ratio", config::make_choice<CosineSchedule>},
      {"constant", "no decay", config::make_choice<ConstantSchedule>},
      {"linear", "a straight line down to min_lr_ratio", config::make_choice<LinearSchedule>},
      {"inv_sqrt", "1 / sqrt(step / timescale), never below min_lr_ratio",
       config::make_choice<InvSqrtSchedule>},
      {"inv", "1 / step, scaled to end at min_lr_ratio", config::make_choice<InvSchedule>},
      {"power", "a power of the tokens seen, times the batch size (Shen et al. 2024)",
       config::make_choice<PowerSchedule>},
      {"polynomial", "a power of the steps left, down to min_lr_ratio",
       config::make_choice<PolynomialSchedule>},
      {"inv_sqrt_decay", "1 / sqrt(1 + c progress), never below min_lr_ratio",
       config::make_choice<InvSqrtDecaySchedule>},
  };
  return kChoices;
}

std::string LrSchedule::name_hint(std::string_view name) {
  static constexpr std::pair<std::string_view, const char*> kOthers[] = {
      {"wsd",
       "write \"linear\" with optimizer.warmup and optimizer.decay: between the two the rate "
       "is constant"},
      {"warmup_stable_decay",
       "write \"linear\" with optimizer.warmup and optimizer.decay: between "
       "the two the rate is constant"},
      {"constant_with_warmup", "write \"constant\" with optimizer.warmup"},
      {"cosine_with_restarts", "write \"cosine\" with optimizer.cycles"},
      {"cosine_with_min_lr", "write \"cosine\" with optimizer.min_lr_ratio"},
      {"inverse_sqrt", "write \"inv_sqrt\""},
  };
  for (const auto& [other, hint] : kOthers)
    if (name == other) return hint;
  return "";
}

}  // namespace levanter
