// The transformer that the families after Llama share (Touvron et al. 2023, arXiv:2302.13971).
#include "models/decoder.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

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

nn::Linear::Options linear(const DecoderConfig& c) {
  return {c.use_bias, nn::Init::normal(c.initializer_range), nn::WeightOrder::kOutIn};
}

struct Attention {
  Attention(const nn::Scope& s, const DecoderConfig& c)
      : scope(s),
        size(c),
        q(s / "q_proj", {size.embed}, size.queries, linear(c)),
        k(s / "k_proj", {size.embed}, size.keys, linear(c)),
        v(s / "v_proj", {size.embed}, size.keys, linear(c)),
        out(s / "o_proj", size.queries, {size.embed}, linear(c)) {
    options.scale = 1 / std::sqrt(static_cast<double>(c.head_size()));
  }

  NamedArray operator()(NamedArray x, const nn::Rotary& rotary, const LmBatch& batch) const {
    const OriginScope at = scope.enter();
    const NamedArray queries = rotary(checkpoint_name(q(x), "q"));
    const NamedArray keys = rotary(checkpoint_name(k(x), "k"));
    const NamedArray values = checkpoint_name(v(x), "v");
    const NamedArray y = batch.attend(queries, keys, values, options);
    return checkpoint_name(out(checkpoint_name(y, "attn")), "attn_out");
  }

  nn::Scope scope;
  Sizes size;
  nn::Linear q, k, v, out;
  AttentionOptions options;
};

/// down(activation(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202).
struct Mlp {
  Mlp(const nn::Scope& s, const DecoderConfig& c)
      : scope(s),
        activation(c.activation_function),
        gate(s / "gate_proj", {Sizes(c).embed}, {Sizes(c).mlp}, linear(c)),
        up(s / "up_proj", {Sizes(c).embed}, {Sizes(c).mlp}, linear(c)),
        down(s / "down_proj", {Sizes(c).mlp}, {Sizes(c).embed}, linear(c)) {}

  NamedArray operator()(NamedArray x) const {
    const OriginScope at = scope.enter();
    const NamedArray gated =
        activate(checkpoint_name(gate(x), "mlp_gate")) * checkpoint_name(up(x), "mlp_up");
    return checkpoint_name(down(checkpoint_name(gated, "mlp_act")), "mlp_down");
  }

  NamedArray activate(NamedArray x) const {
    if (activation == "gelu") return gelu(x, Gelu::kErf);
    if (activation == "gelu_new") return gelu(x, Gelu::kTanh);
    if (activation == "relu") return relu(x);
    return silu(x);
  }

  nn::Scope scope;
  std::string activation;
  nn::Linear gate, up, down;
};

struct Block {
  Block(const nn::Scope& s, const DecoderConfig& c)
      : scope(s),
        before_attention(s / "input_layernorm", {Sizes(c).embed}, c.layer_norm_epsilon),
        attention(s / "self_attn", c),
        before_mlp(s / "post_attention_layernorm", {Sizes(c).embed}, c.layer_norm_epsilon),
        mlp(s / "mlp", c) {}

  NamedArray operator()(NamedArray x, const nn::Rotary& rotary, const LmBatch& batch) const {
    x = x + attention(before_attention(x), rotary, batch);
    return x + mlp(before_mlp(x));
  }

  nn::Scope scope;
  nn::RmsNorm before_attention;
  Attention attention;
  nn::RmsNorm before_mlp;
  Mlp mlp;
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
      blocks_.emplace_back(scope_ / "layers" / std::to_string(i), c);
    norm_.emplace(scope_ / "norm", Axes{Sizes(c).embed}, c.layer_norm_epsilon);
    head_ = embed_.weight;
    if (!c.tie_word_embeddings)
      head_ = (root / "lm_head")
                  .param("weight", {vocab, Sizes(c).embed}, {vocab.size, c.hidden_dim},
                         nn::Init::normal(c.initializer_range), nn::Role::kWeight);
  }

  NamedArray hidden(const LmBatch& batch) const override {
    const OriginScope at = scope_.enter();
    const int64_t window = batch.tokens.axes().size_of("position");
    const nn::Rotary rotary(batch.positions,
                            config_.rope->frequencies(config_.head_size(), window));
    NamedArray x = embed_(batch.tokens);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const OriginScope inside = blocks_[i].scope.enter_region(remat_.region(i));
      x = blocks_[i](x, rotary, batch);
    }
    return (*norm_)(x);
  }

  NamedArray head() const override { return head_; }

 private:
  nn::Scope scope_;
  const DecoderConfig& config_;
  RematPolicy remat_;
  nn::Embedding embed_;
  std::vector<Block> blocks_;
  std::optional<nn::RmsNorm> norm_;
  NamedArray head_;
};

}  // namespace

std::unique_ptr<LanguageModel> make_decoder(const nn::Scope& root, const DecoderConfig& config,
                                            int64_t vocab_size) {
  return std::make_unique<Decoder>(root, config, Axis{"vocab", vocab_size});
}

int64_t decoder_attention_width(const ModelConfig& config) {
  const auto& c = dynamic_cast<const DecoderConfig&>(config);
  return c.num_layers * c.num_heads * c.head_size();
}

}  // namespace levanter::models
