// OLMo 3 (OLMo Team 2025): OLMo 2 with three local layers to a global one.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct Olmo3Config final : DecoderConfig {
  Olmo3Config() {
    norm_before = false;
    norm_after = true;
    qk_norm = QkNorm::kAll;
    rope->theta = 5e5;
    sliding_window = 4096;
    sliding_window_pattern = 4;
    local_rope_theta = 5e5;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    attention_bias_field(f);
    window_fields(f, true);
    local_rope_field(f);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    hf("attention_bias", attention_bias, false);
    hf("sliding_window", sliding_window, 4096);
    layer_type_keys(hf);
    // Files from before Transformers 5 have one base for all layers.
    if (!hf.writes() && !hf.has("rope_parameters")) local_rope_theta = rope->theta;
    hf.ignore({"rope_local_base_freq"});  // Transformers' class has no such key
  }
};

}  // namespace

extern const ModelEntry olmo3_entry;
const ModelEntry olmo3_entry = decoder_entry<Olmo3Config>(
    "olmo3", "OLMo 3: OLMo 2 with three local layers to a global one", "olmo3", "Olmo3ForCausalLM");

}  // namespace levanter::models
