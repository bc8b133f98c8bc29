// Llama (Touvron et al. 2023, arXiv:2302.13971; Dubey et al. 2024, arXiv:2407.21783): versions 1 to
// 3.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct LlamaConfig final : DecoderConfig {
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    f("use_bias", use_bias, "whether linear layers have biases");
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    hf("attention_bias", use_bias, false);
    bool in_mlp = use_bias;
    hf("mlp_bias", in_mlp, false);
    if (in_mlp != use_bias) hf.refuse("attention_bias", "the value of mlp_bias");
    if (!hf.writes()) hf.require("rope_interleaved", false);
    hf.ignore({"is_llama_config"});
    hf.require("pretraining_tp", int64_t{1});
  }
};

}  // namespace

extern const ModelEntry llama_entry;
const ModelEntry llama_entry = decoder_entry<LlamaConfig>(
    "llama", "Llama 1 to 3: RMS norm, rotary positions, grouped queries, gated MLP", "llama",
    "LlamaForCausalLM");

}  // namespace levanter::models
