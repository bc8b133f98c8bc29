// Qwen2 (Yang et al. 2024, arXiv:2407.10671): Llama with biases on queries, keys and values.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct Qwen2Config final : DecoderConfig {
  Qwen2Config() { qkv_bias = true; }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    late_window_fields(f);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    late_window_keys(hf);
  }
};

}  // namespace

extern const ModelEntry qwen2_entry;
const ModelEntry qwen2_entry = decoder_entry<Qwen2Config>(
    "qwen2", "Qwen 2 and 2.5: Llama with biases on queries, keys and values", "qwen2",
    "Qwen2ForCausalLM");

}  // namespace levanter::models
