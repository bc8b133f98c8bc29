// The transformer that the families after Llama share (Touvron et al. 2023, arXiv:2302.13971).
#include "models/decoder.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "models/experts.h"
#include "nn/layers.h"
#include "nn/rotary.h"

namespace levanter::models {

namespace {

struct Sizes {
  explicit Sizes(const DecoderConfig& c)
      : embed{"embed", c.hidden_dim},
        mlp{"mlp", c.intermediate_dim},
        keys{{"kv_head", c.kv_heads()}, {"head_dim", c.head_size()}},
        queries{{"kv_head", c.kv_heads()},
                {"q_group", c.num_heads / c.kv_heads()},
                {"head_dim", c.head_size()}} {}
  Axis embed, mlp;
  Axes keys, queries;
};

nn::Linear::Options linear(const DecoderConfig& c, bool bias) {
  return {bias, nn::Init::normal(c.initializer_range), nn::WeightOrder::kOutIn};
}

/// A norm that a family may lack.
using MaybeNorm = std::optional<nn::RmsNorm>;
MaybeNorm norm_if(bool wanted, const nn::Scope& s, const Axes& axes, const DecoderConfig& c,
                  bool weighed = true) {
  using Weight = nn::RmsNorm::Weight;
  if (!wanted) return {};
  if (!weighed) return nn::RmsNorm(s, axes, c.layer_norm_epsilon, Weight::kNone);
  return nn::RmsNorm(s, axes, c.layer_norm_epsilon,
                     c.norm_plus_one ? Weight::kAroundZero : Weight::kAroundOne);
}
/// One of the residual stream's.
MaybeNorm norm_if(bool wanted, const nn::Scope& s, const DecoderConfig& c) {
  return norm_if(wanted, s, {Sizes(c).embed}, c, c.use_layer_norm_weight);
}
NamedArray apply(const MaybeNorm& norm, NamedArray x) { return norm ? (*norm)(x) : x; }

/// The cosines and sines of global and of local layers.
struct Rotaries {
  Rotaries(const DecoderConfig& c, const LmBatch& batch)
      : global(batch.positions,
               c.rope->frequencies(c.rope->rotated(c.head_size()), batch.window())),
        local(global) {
    if (!c.local_rope_theta) return;
    RopeConfig base;
    base.theta = *c.local_rope_theta;
    local = nn::Rotary(batch.positions,
                       base.frequencies(c.rope->rotated(c.head_size()), c.max_seq_len));
  }
  nn::Rotary global, local;
};

struct Attention {
  Attention(const nn::Scope& s, const DecoderConfig& c, int64_t layer)
      : scope(s),
        size(c),
        q(s / "q_proj", {size.embed}, size.queries, linear(c, qkv_bias(c))),
        k(s / "k_proj", {size.embed}, size.keys, linear(c, qkv_bias(c))),
        v(s / "v_proj", {size.embed}, size.keys, linear(c, qkv_bias(c))),
        out(s / "o_proj", size.queries, {size.embed}, linear(c, c.use_bias || c.attention_bias)),
        dropout(s, "attn_dropout", c.attn_pdrop),
        local(c.is_local(layer)),
        has_rope(c.has_rope(layer)) {
    using QkNorm = DecoderConfig::QkNorm;
    const Axes head = {size.keys[1]};
    const bool each = c.qk_norm == QkNorm::kHead, any = c.qk_norm != QkNorm::kNone;
    q_norm = norm_if(any, s / "q_norm", each ? head : size.queries, c);
    k_norm = norm_if(any, s / "k_norm", each ? head : size.keys, c);
    options.scale = 1 / std::sqrt(double(c.query_pre_attn_scalar.value_or(c.head_size())));
    options.soft_cap = c.attn_soft_cap.value_or(0);
    if (local) options.window = *c.sliding_window;
  }

  static bool qkv_bias(const DecoderConfig& c) {
    return c.use_bias || c.attention_bias || c.qkv_bias;
  }

  NamedArray operator()(NamedArray x, const Rotaries& rotaries, const LmBatch& batch) const {
    const OriginScope at = scope.enter();
    const nn::Rotary& rotary = local ? rotaries.local : rotaries.global;
    NamedArray queries = apply(q_norm, checkpoint_name(q(x, batch.dropout_keys), "q"));
    if (has_rope) queries = rotary(queries);
    NamedArray keys = apply(k_norm, checkpoint_name(k(x, batch.dropout_keys), "k"));
    if (has_rope) keys = rotary(keys);
    const NamedArray values = checkpoint_name(v(x, batch.dropout_keys), "v");
    AttentionOptions dropping = options;
    dropping.dropout_keys = dropout.keys_for(batch.dropout_keys);
    dropping.dropout_rate = dropping.dropout_keys ? dropout.rate : 0;
    const NamedArray y = batch.attend(queries, keys, values, dropping);
    return checkpoint_name(out(checkpoint_name(y, "attn"), batch.dropout_keys), "attn_out");
  }

  nn::Scope scope;
  Sizes size;
  nn::Linear q, k, v, out;
  MaybeNorm q_norm, k_norm;
  nn::Dropout dropout;
  bool local, has_rope;
  AttentionOptions options;
};

Experts::Activation activation_of(const DecoderConfig& c) {
  if (c.activation_function == "gelu") return [](NamedArray x) { return gelu(x, Gelu::kErf); };
  if (c.activation_function == "gelu_new") return [](NamedArray x) { return gelu(x, Gelu::kTanh); };
  if (c.activation_function == "relu") return [](NamedArray x) { return relu(x); };
  return [](NamedArray x) { return silu(x); };
}

/// down(activation(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202).
struct Mlp {
  Mlp(const nn::Scope& s, const DecoderConfig& c)
      : scope(s),
        activation(activation_of(c)),
        gate(s / "gate_proj", {Sizes(c).embed}, {Sizes(c).mlp},
             linear(c, c.use_bias || c.mlp_bias)),
        up(s / "up_proj", {Sizes(c).embed}, {Sizes(c).mlp}, linear(c, c.use_bias || c.mlp_bias)),
        down(s / "down_proj", {Sizes(c).mlp}, {Sizes(c).embed},
             linear(c, c.use_bias || c.mlp_bias)) {}

  NamedArray operator()(NamedArray x, NamedArray dropout_keys) const {
    const OriginScope at = scope.enter();
    const NamedArray gated = activation(checkpoint_name(gate(x, dropout_keys), "mlp_gate")) *
                             checkpoint_name(up(x, dropout_keys), "mlp_up");
    return checkpoint_name(down(checkpoint_name(gated, "mlp_act"), dropout_keys), "mlp_down");
  }

  nn::Scope scope;
  Experts::Activation activation;
  nn::Linear gate, up, down;
};

/// x + half(x) twice, with norms before or after each half.
struct Block {
  Block(const nn::Scope& s, const DecoderConfig& c, int64_t layer)
      : scope(s),
        name("layer" + std::to_string(layer)),
        before_attention(norm_if(c.norm_before, s / "input_layernorm", c)),
        attention(s / "self_attn", c, layer),
        after_attention(norm_if(c.norms_after(), s / "post_attention_layernorm", c)),
        before_mlp(norm_if(
            c.norm_before,
            s / (c.norms_after() ? "pre_feedforward_layernorm" : "post_attention_layernorm"), c)) {
    if (c.n_routed_experts > 0)
      experts.emplace(s / c.expert_names.block, c, activation_of(c));
    else
      mlp.emplace(s / "mlp", c);
    after_mlp = norm_if(c.norms_after(), s / "post_feedforward_layernorm", c);
  }

  NamedArray operator()(NamedArray x, const Rotaries& rotaries, const LmBatch& batch) const {
    x = x + apply(after_attention, attention(apply(before_attention, x), rotaries, batch));
    const NamedArray h = apply(before_mlp, x);
    return x +
           apply(after_mlp, experts ? (*experts)(h, batch, name) : (*mlp)(h, batch.dropout_keys));
  }

  nn::Scope scope;
  std::string name;
  MaybeNorm before_attention;
  Attention attention;
  MaybeNorm after_attention, before_mlp;
  std::optional<Experts> experts;
  std::optional<Mlp> mlp;
  MaybeNorm after_mlp;
};

class Decoder final : public LanguageModel {
 public:
  Decoder(const nn::Scope& root, const DecoderConfig& c, Axis vocab)
      : scope_(root / "model"),
        config_(c),
        remat_(parse_remat_policy(c.gradient_checkpointing, DecoderConfig::checkpoint_names())),
        embed_(scope_ / "embed_tokens", vocab, Sizes(c).embed,
               nn::Init::normal(c.initializer_range)) {
    for (int64_t i = 0; i < c.num_layers; ++i)
      blocks_.emplace_back(scope_ / "layers" / std::to_string(i), c, i);
    norm_ = norm_if(true, scope_ / "norm", c);
    head_ = embed_.weight;
    if (!c.tie_word_embeddings)
      head_ = (root / "lm_head")
                  .param("weight", {vocab, Sizes(c).embed}, {vocab.size, c.hidden_dim},
                         nn::Init::normal(c.initializer_range), nn::Role::kWeight);
  }

  NamedArray hidden(const LmBatch& batch) const override {
    const OriginScope at = scope_.enter();
    const Rotaries rotaries(config_, batch);
    NamedArray x = embed_(batch.tokens);
    if (config_.scaled_embedding) x = x * std::sqrt(double(config_.hidden_dim));
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const OriginScope inside = blocks_[i].scope.enter_region(remat_.region(i));
      x = blocks_[i](x, rotaries, batch);
    }
    return apply(norm_, x);
  }

  NamedArray head() const override { return head_; }
  double logit_soft_cap() const override { return config_.logit_soft_cap.value_or(0); }

 private:
  nn::Scope scope_;
  const DecoderConfig& config_;
  RematPolicy remat_;
  nn::Embedding embed_;
  std::vector<Block> blocks_;
  MaybeNorm norm_;
  NamedArray head_;
};

}  // namespace

std::unique_ptr<LanguageModel> build_decoder(const nn::Scope& root, const ModelConfig& config,
                                             int64_t vocab_size) {
  return std::make_unique<Decoder>(root, dynamic_cast<const DecoderConfig&>(config),
                                   Axis{"vocab", vocab_size});
}

int64_t decoder_attention_width(const ModelConfig& config) {
  const auto& c = dynamic_cast<const DecoderConfig&>(config);
  return c.num_layers * c.num_heads * c.head_size();
}

}  // namespace levanter::models
