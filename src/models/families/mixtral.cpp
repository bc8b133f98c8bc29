// Mixtral (Jiang et al. 2024, arXiv:2401.04088): Mistral whose MLPs are mixtures of experts.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct MixtralConfig final : DecoderConfig {
  MixtralConfig() {
    num_kv_heads = 8;
    intermediate_dim = 14336;
    rope->theta = 1e6;
    n_routed_experts = 8;
    expert_names = {"block_sparse_moe", "w1", "w3", "w2"};
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    window_fields(f, false);
    expert_fields(f);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    hf("sliding_window", sliding_window, {});
    hf("num_local_experts", n_routed_experts);
    hf("num_experts_per_tok", num_experts_per_tok);
    if (hf.writes()) hf.require("router_jitter_noise", 0.0);
  }
};

}  // namespace

extern const ModelEntry mixtral_entry;
const ModelEntry mixtral_entry =
    decoder_entry<MixtralConfig>("mixtral", "Mixtral: Mistral whose MLPs are mixtures of experts",
                                 "mixtral", "MixtralForCausalLM");

}  // namespace levanter::models
