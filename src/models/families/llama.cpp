// Llama (Touvron et al. 2023, arXiv:2302.13971; Dubey et al. 2024, arXiv:2407.21783): versions 1 to
// 3.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct LlamaConfig final : DecoderConfig {
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    bias_fields(f);
    f.dropped("no_rope_layer_interval", "write type = \"smollm3\", which is Llama with it");
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    bias_keys(hf);
    if (hf.writes()) hf.require("pretraining_tp", int64_t{1});
  }
};

}  // namespace

extern const ModelEntry llama_entry;
const ModelEntry llama_entry = decoder_entry<LlamaConfig>(
    "llama", "Llama 1 to 3: RMS norm, rotary positions, grouped queries, gated MLP", "llama",
    "LlamaForCausalLM");

}  // namespace levanter::models
