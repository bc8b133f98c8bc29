// GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, GELU, fused query-key-value.
#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "models/families/gpt2_config.h"
#include "models/model.h"
#include "nn/layers.h"

namespace levanter::models {

namespace {

struct Sizes {
  explicit Sizes(const Gpt2Config& c)
      : embed{"embed", c.hidden_dim},
        mlp{"mlp", c.mlp_dim()},
        heads{"kv_head", c.num_heads},
        head_dim{"head_dim", c.head_dim()} {}
  Axis embed, mlp, heads, head_dim;
};

nn::Linear::Options linear(const Gpt2Config& c) {
  return {c.use_bias, nn::Init::normal(c.initializer_range)};
}

/// A projection back into the residual stream: smaller, so that depth does not add variance.
nn::Linear::Options residual(const Gpt2Config& c) {
  const double layers = static_cast<double>(c.num_layers);
  return {c.use_bias, nn::Init::normal(c.initializer_range / std::sqrt(2 * layers))};
}

struct Attention {
  Attention(const nn::Scope& s, const Gpt2Config& c, int64_t layer)
      : scope(s),
        size(c),
        qkv(s / "c_attn", {size.embed}, {{"kv_head", 3 * size.heads.size}, size.head_dim},
            linear(c)),
        out(s / "c_proj", {size.heads, size.head_dim}, {size.embed}, residual(c)),
        weights_dropout(s, "attn_dropout", c.attn_pdrop),
        dropout(s, "resid_dropout", c.resid_pdrop),
        scale(1 / std::sqrt(static_cast<double>(size.head_dim.size))) {
    if (c.scale_attn_by_inverse_layer_idx) scale /= static_cast<double>(layer + 1);
  }

  NamedArray operator()(NamedArray x, const LmBatch& batch) const {
    const OriginScope at = scope.enter();
    const int64_t n = size.heads.size, sizes[] = {n, n, n};
    const auto parts = partition(checkpoint_name(qkv(x, batch.dropout_keys), "qkv"), "kv_head",
                                 sizes);  // [batch, position, kv_head, head_dim]
    AttentionOptions options;
    options.scale = scale;
    options.dropout_keys = weights_dropout.keys_for(batch.dropout_keys);
    options.dropout_rate = options.dropout_keys ? weights_dropout.rate : 0;
    const NamedArray o =
        checkpoint_name(batch.attend(parts[0], parts[1], parts[2], options), "attn");
    return dropout(checkpoint_name(out(o, batch.dropout_keys), "attn_out"), batch.dropout_keys);
  }

  nn::Scope scope;
  Sizes size;
  nn::Linear qkv, out;
  nn::Dropout weights_dropout, dropout;
  double scale;  ///< of the scores
};

struct Mlp {
  Mlp(const nn::Scope& s, const Gpt2Config& c)
      : scope(s),
        activation(c.activation_function),
        up(s / "c_fc", {Sizes(c).embed}, {Sizes(c).mlp}, linear(c)),
        down(s / "c_proj", {Sizes(c).mlp}, {Sizes(c).embed}, residual(c)),
        dropout(s, "dropout", c.resid_pdrop) {}

  NamedArray operator()(NamedArray x, const LmBatch& batch) const {
    const OriginScope at = scope.enter();
    const NamedArray h =
        checkpoint_name(activate(checkpoint_name(up(x, batch.dropout_keys), "mlp_up")), "mlp_act");
    return dropout(checkpoint_name(down(h, batch.dropout_keys), "mlp_down"), batch.dropout_keys);
  }

  NamedArray activate(NamedArray x) const {
    if (activation == "gelu") return gelu(x, Gelu::kErf);
    if (activation == "relu") return relu(x);
    if (activation == "silu") return silu(x);
    return gelu(x, Gelu::kTanh);
  }

  nn::Scope scope;
  std::string activation;
  nn::Linear up, down;
  nn::Dropout dropout;
};

struct Block {
  Block(const nn::Scope& s, const Gpt2Config& c, int64_t layer)
      : scope(s),
        ln_1(s / "ln_1", Sizes(c).embed, c.layer_norm_epsilon, c.use_bias),
        attn(s / "attn", c, layer),
        ln_2(s / "ln_2", Sizes(c).embed, c.layer_norm_epsilon, c.use_bias),
        mlp(s / "mlp", c) {}

  NamedArray operator()(NamedArray x, const LmBatch& batch) const {
    x = x + attn(ln_1(x), batch);
    return x + mlp(ln_2(x), batch);
  }

  nn::Scope scope;
  nn::LayerNorm ln_1;
  Attention attn;
  nn::LayerNorm ln_2;
  Mlp mlp;
};

class Gpt2 final : public LanguageModel {
 public:
  Gpt2(const nn::Scope& root, const Gpt2Config& c, Axis vocab)
      : scope_(root / "transformer"),
        remat_(parse_remat_policy(c.gradient_checkpointing, Gpt2Config::checkpoint_names())),
        wte_(scope_ / "wte", vocab, Sizes(c).embed, nn::Init::normal(c.initializer_range)),
        wpe_(scope_ / "wpe", {"max_position", c.max_seq_len}, Sizes(c).embed,
             nn::Init::normal(c.initializer_range)),
        dropout_(scope_, "drop", c.embed_pdrop) {
    for (int64_t i = 0; i < c.num_layers; ++i)
      blocks_.emplace_back(scope_ / "h" / std::to_string(i), c, i);
    ln_f_.emplace(scope_ / "ln_f", Sizes(c).embed, c.layer_norm_epsilon, c.use_bias);
    head_ = wte_.weight;
    if (!c.tie_word_embeddings)
      head_ = (root / "lm_head")
                  .param("weight", {vocab, Sizes(c).embed}, {vocab.size, c.hidden_dim},
                         nn::Init::normal(c.initializer_range), nn::Role::kWeight);
  }

  NamedArray hidden(const LmBatch& batch) const override {
    const OriginScope at = scope_.enter();
    const NamedArray tokens = wte_(batch.tokens), positions = wpe_(batch.positions);
    NamedArray x = dropout_(tokens + positions, batch.dropout_keys);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const OriginScope inside = blocks_[i].scope.enter_region(remat_.region(i));
      x = blocks_[i](x, batch);
    }
    return (*ln_f_)(x);
  }

  NamedArray head() const override { return head_; }

 private:
  nn::Scope scope_;
  RematPolicy remat_;
  nn::Embedding wte_, wpe_;
  nn::Dropout dropout_;
  std::vector<Block> blocks_;
  std::optional<nn::LayerNorm> ln_f_;
  NamedArray head_;
};

}  // namespace

extern const ModelEntry gpt2_entry;
const ModelEntry gpt2_entry = {
    .name = "gpt2",
    .summary = "GPT-2: learned positions, pre-LayerNorm (Radford et al. 2019)",
    .make_config = config::make_choice<Gpt2Config>,
    .build = [](const nn::Scope& root, const ModelConfig& c,
                int64_t vocab_size) -> std::unique_ptr<LanguageModel> {
      return std::make_unique<Gpt2>(root, dynamic_cast<const Gpt2Config&>(c),
                                    Axis{"vocab", vocab_size});
    },
    .attention_width =
        [](const ModelConfig& c) {
          const auto& g = dynamic_cast<const Gpt2Config&>(c);
          return g.num_layers * g.num_heads * g.head_dim();
        },
    .hf_type = "gpt2",
    .hf_architecture = "GPT2LMHeadModel",
};

}  // namespace levanter::models
