// How positions rotate queries and keys: the rotary types of Transformers, by its formulas.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "compat/hf_config.h"
#include "config/fields.h"
#include "nn/rotary.h"

namespace levanter {

/// The positions that a config.json says a model was trained with, outside its rotary type.
struct HfWindow {
  int64_t positions = 0;  ///< "max_position_embeddings"
  std::optional<int64_t>
      original;  ///< "original_max_position_embeddings", which a type must repeat
};

/// Base of the configs that a model's `rope` chooses.
struct RopeConfig : config::Choosable {
  double theta = 10000;
  double partial_rotary_factor = 1;

  void fields(config::Fields& f) override;
  /// The numbers of a head that rotate, its first ones; the others stay as they are.
  int64_t rotated(int64_t head_dim) const;
  /// For heads whose first `head_dim` numbers (even) rotate and windows of `max_seq_len` positions.
  virtual nn::RotaryFrequencies frequencies(int64_t head_dim, int64_t max_seq_len) const;

  /// The type's settings in a config.json, all but those of every type.
  virtual void hf_keys(compat::HfConfig&, const HfWindow&) {}
  /// Whether a config.json of windows of `max_seq_len` can say all that the type says.
  virtual bool has_hf_form(int64_t /*max_seq_len*/) const { return true; }

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "default";
};

/// The rotary type in a config.json: "rope_theta" and "rope_scaling", which are written, or
/// "rope_parameters", which newer files have instead. Where layers differ by whether they are local
/// "rope_parameters" holds one object for each kind; `local_theta` has a value in families where
/// they do. local_key  of the base of local layers in older files, null in families that have none
/// positions  that the model was trained with: what a type stretches where the file does not say,
///            there or as "original_max_position_embeddings" beside it
void rope_keys(compat::HfConfig& hf, config::Choice<RopeConfig>& rope,
               std::optional<double>& local_theta, const char* local_key, int64_t positions);

}  // namespace levanter
