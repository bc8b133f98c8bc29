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
const ModelEntry olmo2_entry = decoder_entry<Olmo2Config>(
    "olmo2", "OLMo 2: norms after attention and MLP, and of all queries and keys", "olmo2",
    "Olmo2ForCausalLM");

}  // namespace levanter::models
