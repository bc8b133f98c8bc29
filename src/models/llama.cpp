// Llama (Touvron et al. 2023, arXiv:2302.13971; Dubey et al. 2024, arXiv:2407.21783): versions 1 to
// 3.
#include "models/decoder.h"

namespace levanter::models {

extern const ModelEntry llama_entry;
const ModelEntry llama_entry = {
    .name = "llama",
    .summary = "Llama 1 to 3: RMS norm, rotary positions, grouped queries, gated MLP",
    .make_config = config::make_choice<DecoderConfig>,
    .build = [](const nn::Scope& root, const ModelConfig& c,
                int64_t vocab_size) -> std::unique_ptr<LanguageModel> {
      return make_decoder(root, dynamic_cast<const DecoderConfig&>(c), vocab_size);
    },
    .attention_width = decoder_attention_width,
    .hf_type = "llama",
    .from_hf = [](compat::HfConfig& hf) -> std::unique_ptr<ModelConfig> {
      auto c = std::make_unique<DecoderConfig>();
      read_decoder_config(hf, *c);
      c->use_bias = hf.flag_or("attention_bias", false);
      if (hf.flag_or("mlp_bias", false) != c->use_bias)
        hf.refuse("attention_bias", "the value of mlp_bias");
      hf.require("pretraining_tp", 1.0);
      return c;
    },
};

}  // namespace levanter::models
