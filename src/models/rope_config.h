// How positions turn queries and keys: the rotary types of Transformers, by its formulas.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "compat/hf_config.h"
#include "config/fields.h"
#include "nn/rotary.h"

namespace levanter {

/// Base of the configs that a model's `rope` chooses.
struct RopeConfig : config::Choosable {
  double theta = 10000;

  void fields(config::Fields& f) override;
  /// For heads of this size (even) and windows of so many positions.
  virtual nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const;

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "default";
};

/// The rotary type in a config.json: "rope_theta" and "rope_scaling", which are written, or
/// "rope_parameters", which newer files have instead. Where layers differ by whether they are local
/// these hold one object for each kind, older files the base of the local ones under
/// "rope_local_base_freq"; `local_theta` has a value in families where they do.
/// window  positions that the model was trained with: what a type stretches where it does not say
void rope_keys(compat::HfConfig& hf, config::Choice<RopeConfig>& rope,
               std::optional<double>& local_theta, int64_t window);

}  // namespace levanter
