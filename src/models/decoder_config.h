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

/// Base of these families' configs. A family gives keys to what its users may choose, and fixes the
/// rest in its constructor.
struct DecoderConfig : ModelConfig {
  int64_t hidden_dim = 4096;
  int64_t intermediate_dim = 11008;
  int64_t num_layers = 32;
  int64_t num_heads = 32;
  std::optional<int64_t> num_kv_heads;
  std::optional<int64_t> head_dim;
  std::string activation_function = "silu";  ///< silu, gelu_new, gelu, relu
  double layer_norm_epsilon = 1e-5;
  bool use_layer_norm_weight = true;
  double attn_pdrop = 0;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;
  config::Choice<RopeConfig> rope;
  std::string gradient_checkpointing = "save_dots";  ///< see parse_remat_policy

  // What has a key in some families only; see the functions at the end.
  bool use_bias = false;                   ///< biases in all linear layers
  bool attention_bias = false;             ///< biases in those of attention
  bool mlp_bias = false;                   ///< biases in those of the MLP
  std::optional<int64_t> sliding_window;   ///< keys that a query of a local layer sees
  int64_t sliding_window_pattern = 0;      ///< the period of global layers; 0: no layer is global
  int64_t max_window_layers = 0;           ///< the first layers that are global
  std::optional<double> local_rope_theta;  ///< local layers rotate by this alone
  std::optional<int64_t> query_pre_attn_scalar;  ///< scores are over its root, not head_dim's
  std::optional<double> attn_soft_cap, logit_soft_cap;
  int64_t n_routed_experts = 0, num_experts_per_tok = 2;  ///< 0 experts: an MLP
  double lbl_coef = 0.01, rzl_coef = 0.001;               ///< of the router's losses
  bool norm_topk_prob = true;          ///< experts' weights are divided by their sum
  bool hybrid_norm = false;            ///< norms after a block's halves too
  int64_t no_rope_layer_interval = 0;  ///< the period of layers without RoPE; 0: all have it

  // What a family is.
  enum class QkNorm : uint8_t { kNone, kHead, kAll };
  QkNorm qk_norm = QkNorm::kNone;  ///< RMS norms of queries and keys, over a head or all of them
  bool qkv_bias = false;           ///< biases in the projections to queries, keys and values
  bool norm_before = true;         ///< of what a block's halves read
  bool norm_after = false;         ///< of what they return
  bool norm_plus_one = false;      ///< norms multiply by 1 + weight
  bool scaled_embedding = false;   ///< embeddings times sqrt(hidden_dim)
  const char* activation_key = "hidden_act";  ///< of a config.json
  const char* local_theta_key = nullptr;      ///< of one, for local_rope_theta
  /// A family with experts calls their tensors BLOCK.gate.weight and
  /// BLOCK.experts.N.{gate, up, down}.weight.
  struct ExpertNames {
    const char *block, *gate, *up, *down;
  };
  ExpertNames expert_names{};

  DecoderConfig() { max_seq_len = 2048; }

  int64_t kv_heads() const { return num_kv_heads.value_or(num_heads); }
  int64_t head_size() const { return head_dim.value_or(hidden_dim / num_heads); }
  /// Whether a layer's queries see the window alone.
  bool is_local(int64_t layer) const;
  /// Whether a layer's queries and keys are rotated by their positions.
  bool has_rope(int64_t layer) const;
  bool norms_after() const { return norm_after || hybrid_norm; }
  double expert_share() const override;
  std::string without_hf_form() const override;

  /// The values of a block that gradient_checkpointing = "save(name, ...)" can name.
  static std::span<const std::string_view> checkpoint_names();

  void fields(config::Fields& f) override;
  void hf_keys(compat::HfConfig& hf) override;
  void validate(config::Problems& p) const override;

 protected:
  void window_fields(config::Fields& f, bool with_pattern);
  void attention_bias_field(config::Fields& f);
  /// Llama's biases, in attention, in the MLP, or in both.
  void bias_fields(config::Fields& f);
  void bias_keys(compat::HfConfig& hf);
  void cap_fields(config::Fields& f);
  void expert_fields(config::Fields& f);
  void local_rope_field(config::Fields& f);
  /// Qwen's windows, of all layers but the first max_window_layers.
  void late_window_fields(config::Fields& f);
  void late_window_keys(compat::HfConfig& hf);
  /// What all versions of Gemma have in common.
  void be_gemma();
  void gemma_keys(compat::HfConfig& hf);
  void cap_keys(compat::HfConfig& hf);
  /// Takes which layers are local from "layer_types", which are as `sliding_window_pattern` and
  /// `max_window_layers` say where the key is missing.
  void layer_type_keys(compat::HfConfig& hf);
};

}  // namespace levanter
