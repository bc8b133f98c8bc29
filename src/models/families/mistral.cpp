// Mistral (Jiang et al. 2023, arXiv:2310.06825): Llama with a sliding window.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct MistralConfig final : DecoderConfig {
  MistralConfig() {
    num_kv_heads = 8;
    intermediate_dim = 14336;
    sliding_window = 4096;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    window_fields(f, false);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    hf("sliding_window", sliding_window, 4096);
  }
};

}  // namespace

extern const ModelEntry mistral_entry;
const ModelEntry mistral_entry =
    decoder_entry<MistralConfig>("mistral", "Mistral: Llama whose queries see a window of keys",
                                 "mistral", "MistralForCausalLM");

}  // namespace levanter::models
