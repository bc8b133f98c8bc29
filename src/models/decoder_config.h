// Configuration that the families after Llama share, with Levanter's keys.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "models/model_config.h"
#include "models/remat_policy.h"
#include "models/rope_config.h"

namespace levanter {

struct DecoderConfig : ModelConfig {
  int64_t hidden_dim = 4096;
  int64_t intermediate_dim = 11008;
  int64_t num_layers = 32;
  int64_t num_heads = 32;
  std::optional<int64_t> num_kv_heads;
  std::optional<int64_t> head_dim;
  std::string activation_function = "silu";  ///< silu, gelu_new, gelu, relu
  double layer_norm_epsilon = 1e-5;
  bool use_bias = false;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;
  config::Choice<RopeConfig> rope;
  std::string gradient_checkpointing = "save_dots";  ///< see parse_remat_policy

  DecoderConfig() { max_seq_len = 2048; }

  int64_t kv_heads() const { return num_kv_heads.value_or(num_heads); }
  int64_t head_size() const { return head_dim.value_or(hidden_dim / num_heads); }

  /// The values of a block that gradient_checkpointing = "save(name, ...)" can name.
  static std::span<const std::string_view> checkpoint_names();

  void fields(config::Fields& f) override;
  void validate(config::Problems& p) const override;
};

}  // namespace levanter
