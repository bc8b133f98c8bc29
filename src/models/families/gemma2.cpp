// Gemma 2 (Gemma Team 2024, arXiv:2408.00118): norms on both sides, every other layer local, caps.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct Gemma2Config final : DecoderConfig {
  Gemma2Config() {
    be_gemma();
    activation_key = "hidden_activation";
    norm_after = true;
    sliding_window = 4096;
    sliding_window_pattern = 2;
    query_pre_attn_scalar = 256;
    attn_soft_cap = 50;
    logit_soft_cap = 30;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    attention_bias_field(f);
    window_fields(f, true);
    cap_fields(f);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    gemma_keys(hf);
    cap_keys(hf);
    hf("sliding_window", sliding_window, 4096);
    layer_type_keys(hf);
    hf.ignore({"sliding_window_size"});
  }
};

}  // namespace

extern const ModelEntry gemma2_entry;
const ModelEntry gemma2_entry = decoder_entry<Gemma2Config>(
    "gemma2", "Gemma 2: norms on both sides, every other layer local, caps", "gemma2",
    "Gemma2ForCausalLM");

}  // namespace levanter::models
