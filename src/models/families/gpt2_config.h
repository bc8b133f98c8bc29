// Configuration of GPT-2 (Radford et al. 2019), with Levanter's keys and defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "models/model_config.h"
#include "models/remat_policy.h"

namespace levanter {

struct Gpt2Config final : ModelConfig {
  int64_t hidden_dim = 768;
  int64_t num_layers = 12;
  int64_t num_heads = 12;
  std::optional<int64_t> intermediate_dim;
  std::string activation_function = "gelu_new";  ///< gelu_new, gelu, relu, silu
  double layer_norm_epsilon = 1e-5;
  bool scale_attn_by_inverse_layer_idx = false;
  bool use_bias = true;
  bool tie_word_embeddings = true;
  double embed_pdrop = 0;
  double attn_pdrop = 0;
  double resid_pdrop = 0;
  double initializer_range = 0.02;
  std::string gradient_checkpointing = "save_dots";  ///< see parse_remat_policy

  /// Width of the MLP's hidden layer: intermediate_dim, else 4 hidden_dim.
  int64_t mlp_dim() const { return intermediate_dim.value_or(4 * hidden_dim); }
  int64_t head_dim() const { return hidden_dim / num_heads; }

  /// The values of a block that gradient_checkpointing = "save(name, ...)" can name.
  static std::span<const std::string_view> checkpoint_names();

  void fields(config::Fields& f) override;
  void hf_keys(compat::HfConfig& hf) override;
  void validate(config::Problems& p) const override;
};

}  // namespace levanter
