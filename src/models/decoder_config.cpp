// Configuration that the families after Llama share.
#include "models/decoder_config.h"

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
      .at_least(1);
  f("head_dim", head_dim, "width of a head, even; by default hidden_dim / num_heads").at_least(2);
  f("activation_function", activation_function,
    "nonlinearity of the MLP's gate; gelu_new is the tanh approximation, gelu the exact one")
      .one_of({"silu", "gelu_new", "gelu", "relu"});
  f("layer_norm_epsilon", layer_norm_epsilon, "added to the mean square in a norm").above(0);
  f("use_bias", use_bias, "whether linear layers have biases");
  f("tie_word_embeddings", tie_word_embeddings,
    "whether the output layer is the token embedding itself");
  f("initializer_range", initializer_range, "standard deviation of the initial weights").above(0);
  f("rope", rope, "how positions turn queries and keys");
  f("gradient_checkpointing", gradient_checkpointing,
    "what a block recomputes in the backward pass: nothing, all but its matrix products, all, all "
    "but the values of these names (q, k, v, attn, attn_out, mlp_gate, mlp_up, mlp_act, mlp_down), "
    "or all with only every k-th block's input kept; more recomputation takes less memory and "
    "gives the same bits")
      .written_as({"none", "save_dots", "full", "save(name, ...)", "nested(k)"})
      .may_change();
  f.dropped("gradient_checkpointing_block_size", "write gradient_checkpointing = \"nested(k)\"");
  f.dropped("upcast_attn", "attention scores are always computed in f32");
  f.dropped("hybrid_norm", "it has no form in Hugging Face files");
  f.dropped("input_embedding_norm", "it has no form in Hugging Face files");
  f.dropped("use_layer_norm_weight", "norms always have weights");
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
}

}  // namespace levanter
