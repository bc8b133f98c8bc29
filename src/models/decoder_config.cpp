// Configuration that the families after Llama share, and its keys in a config.json.
#include "models/decoder_config.h"

#include <vector>

#include "base/strings.h"
#include "config/problems.h"

namespace levanter {

void DecoderConfig::fields(config::Fields& f) {
  ModelConfig::fields(f);
  f("hidden_dim", hidden_dim, "width of the residual stream").at_least(1).at_most(1e6);
  f("intermediate_dim", intermediate_dim, "width inside the MLP").at_least(1).at_most(1e7);
  f("num_layers", num_layers, "number of transformer blocks").at_least(1).at_most(1e4);
  f("num_heads", num_heads, "query heads of a block").at_least(1).at_most(1e5);
  f("num_kv_heads", num_kv_heads,
    "key and value heads, each shared by num_heads / num_kv_heads query heads; by default "
    "num_heads")
      .at_least(1)
      .at_most(1e5);
  f("head_dim", head_dim, "width of a head, even; by default hidden_dim / num_heads")
      .at_least(2)
      .at_most(1e5);
  f("activation_function", activation_function,
    "nonlinearity of the MLP's gate; gelu_new is the tanh approximation, gelu the exact one")
      .one_of({"silu", "gelu_new", "gelu", "relu"});
  f("layer_norm_epsilon", layer_norm_epsilon, "added to the mean square in a norm").above(0);
  f("use_layer_norm_weight", use_layer_norm_weight,
    "whether norms multiply by weights; those of queries and keys always do");
  if (!norm_after)
    f("hybrid_norm", hybrid_norm,
      "whether what attention and MLP return is normed too, before it is added");
  f("attn_pdrop", attn_pdrop, "probability of dropping an attention weight").at_least(0).below(1);
  f("tie_word_embeddings", tie_word_embeddings,
    "whether the output layer is the token embedding itself");
  f("initializer_range", initializer_range, "standard deviation of the initial weights").above(0);
  f("rope", rope, "how positions rotate queries and keys");
  remat_field(f, gradient_checkpointing, checkpoint_names());
  f.dropped("upcast_attn", "attention scores are always computed in f32");
  f.dropped("input_embedding_norm",
            "no model here has it, nor has any form in Hugging Face files; false is what is always "
            "done, so remove it then");
  if (norm_after)
    f.dropped("hybrid_norm", "this family always norms what attention and MLP return");
}

bool DecoderConfig::is_local(int64_t layer) const {
  const bool global = sliding_window_pattern > 0 && (layer + 1) % sliding_window_pattern == 0;
  return sliding_window && layer >= max_window_layers && !global;
}

bool DecoderConfig::has_rope(int64_t layer) const {
  return no_rope_layer_interval == 0 || (layer + 1) % no_rope_layer_interval != 0;
}

std::string DecoderConfig::without_hf_form() const {
  if (hybrid_norm) return "hybrid_norm";
  if (rope->partial_rotary_factor != 1) return "rope.partial_rotary_factor";
  return rope->has_hf_form(max_seq_len) ? "" : "rope.original_max_position_embeddings";
}

void DecoderConfig::window_fields(config::Fields& f, bool with_pattern) {
  f("sliding_window", sliding_window,
    "keys that a query sees, its own the last; by default all before it")
      .at_least(1)
      .at_most(1e9)
      .unit("tokens");
  if (with_pattern)
    f("sliding_window_pattern", sliding_window_pattern,
      "one layer in this many sees all keys, the others the window; 0: every layer has the window")
        .at_least(0);
}

void DecoderConfig::attention_bias_field(config::Fields& f) {
  f("attention_bias", attention_bias, "whether the linear layers of attention have biases");
}

void DecoderConfig::bias_fields(config::Fields& f) {
  f("use_bias", use_bias, "whether linear layers have biases");
  attention_bias_field(f);
  f("mlp_bias", mlp_bias, "whether the linear layers of the MLP have biases");
}

void DecoderConfig::bias_keys(compat::HfConfig& hf) {
  bool in_attention = use_bias || attention_bias, in_mlp = use_bias || mlp_bias;
  hf("attention_bias", in_attention, false);
  hf("mlp_bias", in_mlp, false);
  use_bias = in_attention && in_mlp;
  attention_bias = in_attention && !in_mlp;
  mlp_bias = in_mlp && !in_attention;
}

void DecoderConfig::cap_fields(config::Fields& f) {
  f("query_pre_attn_scalar", query_pre_attn_scalar,
    "attention's scores are divided by its root; by default head_dim")
      .at_least(1);
  f("attn_logit_softcapping", attn_soft_cap, "c of attention's scores, c tanh(score / c)").above(0);
  f("final_logit_softcapping", logit_soft_cap, "c of the head's logits, c tanh(logit / c)")
      .above(0);
}

void DecoderConfig::expert_fields(config::Fields& f) {
  f("n_routed_experts", n_routed_experts, "experts of a block").at_least(1).at_most(1e4);
  f("num_experts_per_tok", num_experts_per_tok, "experts that a token goes through").at_least(1);
  f("lbl_coef", lbl_coef,
    "weight in the loss of the sum over blocks of E sum over experts of (share of choices) (mean "
    "probability), which is 1 where all are as busy")
      .at_least(0);
  f("rzl_coef", rzl_coef,
    "weight in the loss of the sum over blocks of the mean squared logsumexp of router logits")
      .at_least(0);
}

double DecoderConfig::expert_share() const {
  return n_routed_experts == 0 ? 1 : double(num_experts_per_tok) / double(n_routed_experts);
}

void DecoderConfig::local_rope_field(config::Fields& f) {
  f("local_rope_theta", local_rope_theta,
    "theta of layers with a window, whose rotary type is default; by default they rotate as all "
    "others")
      .above(1);
}

void DecoderConfig::late_window_fields(config::Fields& f) {
  window_fields(f, false);
  f("max_window_layers", max_window_layers, "the first layers, this many, see all keys")
      .at_least(0);
}

void DecoderConfig::late_window_keys(compat::HfConfig& hf) {
  bool windows = sliding_window.has_value();
  hf("use_sliding_window", windows, false);
  hf("sliding_window", sliding_window, 4096);
  hf("max_window_layers", max_window_layers, 28);
  if (!windows) sliding_window.reset();
  layer_type_keys(hf);
  if (sliding_window_pattern > 0)
    hf.refuse("layer_types", "full_attention in the first max_window_layers layers alone");
}

void DecoderConfig::be_gemma() {
  norm_plus_one = true;
  scaled_embedding = true;
  activation_function = "gelu_new";
  head_dim = 256;
  tie_word_embeddings = true;
  layer_norm_epsilon = 1e-6;
}

void DecoderConfig::gemma_keys(compat::HfConfig& hf) {
  hf("attention_bias", attention_bias, false);
  hf.require("use_bidirectional_attention", false);
  if (hf.writes()) hf.named("hidden_activation", activation_function, "", kHfActivations);
  hf.ignore({"hidden_act", "hidden_activation"});  // the one that is not the family's own
}

void DecoderConfig::cap_keys(compat::HfConfig& hf) {
  hf("query_pre_attn_scalar", query_pre_attn_scalar);
  hf("attn_logit_softcapping", attn_soft_cap, {});
  hf("final_logit_softcapping", logit_soft_cap, {});
}

void DecoderConfig::hf_keys(compat::HfConfig& hf) {
  hf("max_position_embeddings", max_seq_len);
  hf("hidden_size", hidden_dim);
  hf("intermediate_size", intermediate_dim);
  hf("num_hidden_layers", num_layers);
  hf("num_attention_heads", num_heads);
  if (hf.writes()) {
    num_kv_heads = kv_heads();
    head_dim = head_size();
  }
  hf("num_key_value_heads", num_kv_heads, {});
  hf("head_dim", head_dim, {});
  hf.named(hf.writes() ? "hidden_act" : activation_key, activation_function, "silu",
           kHfActivations);
  hf("rms_norm_eps", layer_norm_epsilon);
  hf("tie_word_embeddings", tie_word_embeddings, tie_word_embeddings);
  hf("initializer_range", initializer_range, 0.02);
  hf("attention_dropout", attn_pdrop, 0.0);
  rope_keys(hf, rope, local_rope_theta, local_theta_key, max_seq_len);
}

void DecoderConfig::layer_type_keys(compat::HfConfig& hf) {
  std::vector<std::string> types;
  for (int64_t i = 0; i < num_layers; ++i)
    types.emplace_back(is_local(i) ? "sliding_attention" : "full_attention");
  const std::vector<std::string> fitting = types;
  std::optional<std::vector<std::string>> said = types;
  hf("layer_types", said, types);
  if (!said || *said == fitting) return;
  for (const std::string& type : *said)
    if (type != "sliding_attention" && type != "full_attention")
      hf.refuse("layer_types", "sliding_attention, full_attention");
  // Every n-th layer is global, the others local: all patterns that are in use.
  for (sliding_window_pattern = 0; sliding_window_pattern <= num_layers + 1;
       ++sliding_window_pattern) {
    bool fits = said->size() == fitting.size();
    for (int64_t i = 0; fits && i < num_layers; ++i)
      fits = ((*said)[static_cast<size_t>(i)] == "sliding_attention") == is_local(i);
    if (fits) return;
  }
  hf.refuse("layer_types", "full_attention in every n-th layer, sliding_attention in all others");
}

std::span<const std::string_view> DecoderConfig::checkpoint_names() {
  static constexpr std::string_view kNames[] = {
      "q", "k", "v", "attn", "attn_out", "mlp_gate", "mlp_up", "mlp_act", "mlp_down"};
  return kNames;
}

void DecoderConfig::validate(config::Problems& p) const {
  validate_remat_policy(p, "gradient_checkpointing", gradient_checkpointing, checkpoint_names());
  const auto divisors = [](int64_t of) {
    std::string list;
    for (int64_t n = 1; n <= of; ++n)
      if (of % n == 0) list += cat(list.empty() ? "" : ", ", n);
    return list;
  };
  if (n_routed_experts > 0 && num_experts_per_tok > n_routed_experts)
    p.add("num_experts_per_tok",
          cat(p.name("num_experts_per_tok"), " = ", num_experts_per_tok, " is above ",
              p.name("n_routed_experts"), " = ", n_routed_experts),
          {"n_routed_experts"})
        .allowed(cat("at most ", n_routed_experts));
  if (num_heads % kv_heads() != 0)
    p.add("num_kv_heads",
          cat(p.name("num_kv_heads"), " = ", kv_heads(), " does not divide ", p.name("num_heads"),
              " = ", num_heads),
          {"num_heads"})
        .allowed(divisors(num_heads))
        .hint("num_heads gives multi-head attention, 1 gives multi-query");
  if (!head_dim && hidden_dim % num_heads != 0)
    p.add("num_heads",
          cat(p.name("num_heads"), " = ", num_heads, " does not divide ", p.name("hidden_dim"),
              " = ", hidden_dim),
          {"hidden_dim"})
        .allowed(divisors(hidden_dim))
        .hint("or set head_dim, the width of a head");
  else if (head_size() % 2 != 0)
    p.add(head_dim ? "head_dim" : "num_heads",
          cat("heads are ", head_size(), " wide, which rotary positions can't halve"))
        .allowed("an even width");
  else if (const int64_t rotated = rope->rotated(head_size()); rotated % 2 != 0 || rotated == 0)
    p.add("rope", cat(p.name("rope"), ".partial_rotary_factor = ", rope->partial_rotary_factor,
                      " rotates ", rotated, " of a head's ", head_size(), " numbers"))
        .allowed("an even number of them, at least 2");
}

}  // namespace levanter
