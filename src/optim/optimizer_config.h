// What every optimizer's configuration has: the learning rate's course and the weight decay.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"
#include "optim/groups.h"
#include "optim/schedule_config.h"

namespace levanter {

/// The running mean of the weights: average' = decay average + (1 - decay) weights after each step,
/// from the weights that the run begins with.
struct EmaConfig {
  double decay = 0.999;
  void fields(config::Fields& f);
};

/// Base of the configs that `optimizer.type` chooses.
///
/// warmup, decay, rewarmup and a scalar cycle_length are fractions of their cycle (of the run) up
/// to 1, and whole numbers of steps above: 1 is all of it, not one step.
struct OptimizerConfig : config::Choosable {
  double learning_rate = 6e-4;
  double weight_decay = 0.1;
  double min_lr_ratio = 0.1;
  double warmup = 0.01;
  std::optional<double> decay;  ///< absent: all that the warm-up leaves
  double rewarmup = 0;
  config::OneOrMany<double> cycle_length;  ///< one: every cycle's; a list: one by one; or empty
  config::OneOrMany<int64_t> cycles;       ///< one: how many; a list: where they end; or empty
  config::Choice<LrSchedule> lr_schedule;
  std::vector<std::string> decay_roles = {"weight"};  ///< weight, bias, norm, embedding
  std::optional<double> max_grad_norm = 1.0;          ///< absent: no clipping
  std::optional<double> update_rms_clipping;          ///< absent: no clipping
  std::optional<EmaConfig> ema;                       ///< absent: none
  std::vector<ParameterGroup> groups;                 ///< a parameter is of the first that matches

  /// The keys above, the optimizer's own before the last.
  void fields(config::Fields& f) final;
  void validate(config::Problems& p) const override;

  /// The optimizers that a config can name.
  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "adam";
  /// What others call an optimizer that is here under another name.
  static std::string name_hint(std::string_view name);

 private:
  virtual void own_fields(config::Fields& f) = 0;
};

}  // namespace levanter
