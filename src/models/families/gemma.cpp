// Gemma (Gemma Team 2024, arXiv:2403.08295): scaled embeddings, norms around 1, wide heads, GELU.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct GemmaConfig final : DecoderConfig {
  GemmaConfig() {
    be_gemma();
    num_kv_heads = 16;
    num_heads = 16;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    attention_bias_field(f);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    gemma_keys(hf);
    // The first files say "gelu" for what was in truth the approximation.
    std::string said;
    if (!hf.writes()) hf("hidden_act", said, "");
    if (said == "gelu") activation_function = "gelu_new";
  }
};

}  // namespace

extern const ModelEntry gemma_entry;
const ModelEntry gemma_entry = decoder_entry<GemmaConfig>(
    "gemma", "Gemma 1: scaled embeddings, norms around 1, wide heads, GELU", "gemma",
    "GemmaForCausalLM");

}  // namespace levanter::models
