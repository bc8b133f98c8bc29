// How positions turn queries and keys: the rotary types of Transformers, by its formulas.
#pragma once

#include <cstdint>
#include <span>

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

}  // namespace levanter
