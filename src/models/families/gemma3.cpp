// Gemma 3 (Gemma Team 2025, arXiv:2503.19786), its text models: five local layers to a global one,
// norms of queries and keys, two rotary bases.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct Gemma3Config final : DecoderConfig {
  Gemma3Config() {
    be_gemma();
    activation_key = "hidden_activation";
    local_theta_key = "rope_local_base_freq";
    norm_after = true;
    qk_norm = QkNorm::kHead;
    sliding_window = 1024;
    sliding_window_pattern = 6;
    query_pre_attn_scalar = 256;
    rope->theta = 1e6;
    local_rope_theta = 1e4;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    attention_bias_field(f);
    window_fields(f, true);
    cap_fields(f);
    local_rope_field(f);
  }
  std::string without_hf_form() const override {
    return attn_soft_cap ? "attn_logit_softcapping" : DecoderConfig::without_hf_form();
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    gemma_keys(hf);
    cap_keys(hf);
    // Transformers' class has the key and does not read it.
    if (!hf.writes()) attn_soft_cap.reset();
    hf("sliding_window", sliding_window, 4096);
    if (!hf.writes()) hf("sliding_window_pattern", sliding_window_pattern, 6);
    layer_type_keys(hf);
    hf.ignore({"_sliding_window_pattern"});
  }
};

}  // namespace

extern const ModelEntry gemma3_entry;
const ModelEntry gemma3_entry = decoder_entry<Gemma3Config>(
    "gemma3", "Gemma 3 text models: five local layers to a global one, norms of queries and keys",
    "gemma3_text", "Gemma3ForCausalLM");

}  // namespace levanter::models
