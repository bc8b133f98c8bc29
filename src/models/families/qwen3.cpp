// Qwen3 (Yang et al. 2025, arXiv:2505.09388): RMS norms of each head of queries and keys.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct Qwen3Config final : DecoderConfig {
  Qwen3Config() {
    qk_norm = QkNorm::kHead;
    head_dim = 128;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    attention_bias_field(f);
    late_window_fields(f);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    hf("attention_bias", attention_bias, false);
    late_window_keys(hf);
  }
};

}  // namespace

extern const ModelEntry qwen3_entry;
const ModelEntry qwen3_entry = decoder_entry<Qwen3Config>(
    "qwen3", "Qwen 3: norms of each head of queries and keys", "qwen3", "Qwen3ForCausalLM");

}  // namespace levanter::models
