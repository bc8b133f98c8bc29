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
  double partial_rotary_factor = 1;

  void fields(config::Fields& f) override;
  /// The numbers of a head that turn, its first ones; the others stay as they are.
  int64_t rotated(int64_t head_dim) const;
  /// For so many numbers of a head that turn (even) and windows of so many positions.
  virtual nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const;

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "default";
};

/// The rotary type in a config.json: "rope_theta" and "rope_scaling", which are written, or
/// "rope_parameters", which newer files have instead. Where layers differ by whether they are local
/// these hold one object for each kind, older files the base of the local ones under
/// "rope_local_base_freq"; `local_theta` has a value in families where they do.
/// positions  that the model was trained with: what a type stretches where the file does not say,
///            there or as "original_max_position_embeddings" beside it
void rope_keys(compat::HfConfig& hf, config::Choice<RopeConfig>& rope,
               std::optional<double>& local_theta, int64_t positions);

}  // namespace levanter
