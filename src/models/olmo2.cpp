// OLMo 2 (OLMo Team 2024, arXiv:2501.00656): norms after attention and MLP, and of all queries and
// keys.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct Olmo2Config final : DecoderConfig {
  Olmo2Config() {
    norm_before = false;
    norm_after = true;
    qk_norm = QkNorm::kAll;
    rope->theta = 5e5;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    attention_bias_field(f);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    hf("attention_bias", attention_bias, false);
  }
};

}  // namespace

extern const ModelEntry olmo2_entry;
const ModelEntry olmo2_entry = {
    .name = "olmo2",
    .summary = "OLMo 2: norms after attention and MLP, and of all queries and keys",
    .make_config = config::make_choice<Olmo2Config>,
    .build = build_decoder,
    .attention_width = decoder_attention_width,
    .hf_type = "olmo2",
    .hf_architecture = "Olmo2ForCausalLM",
};

}  // namespace levanter::models
