// The keys of GPT-2 (Radford et al. 2019), their bounds, and their names in a config.json.
#include "models/families/gpt2_config.h"

#include "base/strings.h"
#include "config/problems.h"

namespace levanter {

void Gpt2Config::fields(config::Fields& f) {
  ModelConfig::fields(f);
  f("hidden_dim", hidden_dim, "width of the residual stream").at_least(1).at_most(1e6);
  f("num_layers", num_layers, "number of transformer blocks").at_least(1).at_most(1e4);
  f("num_heads", num_heads, "attention heads of a block; must divide hidden_dim").at_least(1);
  f("intermediate_dim", intermediate_dim, "width inside the MLP; by default 4 hidden_dim")
      .at_least(1)
      .at_most(1e7);
  f("activation_function", activation_function,
    "nonlinearity of the MLP; gelu_new is GPT-2's tanh approximation, gelu the exact one")
      .one_of({"gelu_new", "gelu", "relu", "silu"});
  f("layer_norm_epsilon", layer_norm_epsilon, "added to the variance in a LayerNorm").above(0);
  f("scale_attn_by_inverse_layer_idx", scale_attn_by_inverse_layer_idx,
    "whether the n-th layer, from 1, divides its attention scores by n");
  f("use_bias", use_bias, "whether linear layers and LayerNorms have biases");
  f("tie_word_embeddings", tie_word_embeddings,
    "whether the output layer is the token embedding itself");
  f("embed_pdrop", embed_pdrop, "probability of dropping an element of the embeddings")
      .at_least(0)
      .below(1);
  f("attn_pdrop", attn_pdrop, "probability of dropping an attention weight").at_least(0).below(1);
  f("resid_pdrop", resid_pdrop, "probability of dropping an element of a block's output")
      .at_least(0)
      .below(1);
  f("initializer_range", initializer_range,
    "standard deviation of the initial weights; residual projections get it over sqrt(2 "
    "num_layers)")
      .above(0);
  remat_field(f, gradient_checkpointing, checkpoint_names());
  f.dropped("mlp_scale", "write intermediate_dim, the width itself");
  f.dropped("upcast_attn", "attention scores are always computed in f32");
}

void Gpt2Config::hf_keys(compat::HfConfig& hf) {
  hf("n_positions", max_seq_len);
  hf("n_embd", hidden_dim);
  hf("n_layer", num_layers);
  hf("n_head", num_heads);
  hf("n_inner", intermediate_dim, {});
  hf.named("activation_function", activation_function, "gelu_new", kHfActivations);
  hf("layer_norm_epsilon", layer_norm_epsilon, 1e-5);
  hf("tie_word_embeddings", tie_word_embeddings, true);
  hf("initializer_range", initializer_range, 0.02);
  hf("embd_pdrop", embed_pdrop, 0.1);
  hf("attn_pdrop", attn_pdrop, 0.1);
  hf("resid_pdrop", resid_pdrop, 0.1);
  hf.require("scale_attn_weights", true);
  hf("scale_attn_by_inverse_layer_idx", scale_attn_by_inverse_layer_idx, false);
  hf.require("add_cross_attention", false);
}

std::span<const std::string_view> Gpt2Config::checkpoint_names() {
  static constexpr std::string_view kNames[] = {"qkv",    "attn",    "attn_out",
                                                "mlp_up", "mlp_act", "mlp_down"};
  return kNames;
}

void Gpt2Config::validate(config::Problems& p) const {
  validate_remat_policy(p, "gradient_checkpointing", gradient_checkpointing, checkpoint_names());
  if (hidden_dim % num_heads == 0) return;
  std::string divisors;
  for (int64_t n = 1; n <= hidden_dim; ++n)
    if (hidden_dim % n == 0) divisors += cat(divisors.empty() ? "" : ", ", n);
  p.add("num_heads",
        cat(p.name("num_heads"), " = ", num_heads, " does not divide ", p.name("hidden_dim"), " = ",
            hidden_dim),
        {"hidden_dim"})
      .allowed(divisors)
      .hint(cat("each head works on hidden_dim / num_heads numbers, usually 64"));
}

}  // namespace levanter
