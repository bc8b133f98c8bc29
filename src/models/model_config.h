// What every model's configuration has: sizes that the trainer and the data need.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "compat/hf_config.h"
#include "config/fields.h"

namespace levanter {

/// Hugging Face's names of activation functions, and ours. Those of one function differ in how they
/// round: gelu_fast has sqrt(2 / pi) to ten digits.
inline constexpr std::pair<const char*, const char*> kHfActivations[] = {
    {"silu", "silu"},
    {"swish", "silu"},
    {"gelu_pytorch_tanh", "gelu_new"},
    {"gelu_new", "gelu_new"},
    {"gelu_fast", "gelu_new"},
    {"gelu_accurate", "gelu_new"},
    {"gelu_python_tanh", "gelu_new"},
    {"gelu", "gelu"},
    {"gelu_python", "gelu"},
    {"relu", "relu"}};

/// Base of the configs that `model.type` chooses.
struct ModelConfig : config::Choosable {
  int64_t max_seq_len = 1024;
  std::optional<int64_t> vocab_size;  ///< the tokenizer's when absent

  /// The keys above; a model's own `fields` calls it first.
  void fields(config::Fields& f) override;
  /// The family's settings in a config.json, all but vocab_size and those that every model has.
  virtual void hf_keys(compat::HfConfig& hf) = 0;
  /// The keys, if any, that the family's class in Transformers has no setting for: such a model has
  /// no Hugging Face folder. "" where there are none.
  virtual std::string without_hf_form() const { return ""; }
  /// The share of the experts' parameters that a token is multiplied by.
  virtual double expert_share() const { return 1; }

  /// The models that a config can name.
  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "gpt2";
};

}  // namespace levanter
