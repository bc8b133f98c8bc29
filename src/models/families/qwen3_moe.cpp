// Qwen3 with mixtures of experts (Yang et al. 2025, arXiv:2505.09388) in all blocks.
#include "models/decoder.h"

namespace levanter::models {
namespace {

struct Qwen3MoeConfig final : DecoderConfig {
  Qwen3MoeConfig() {
    qk_norm = QkNorm::kHead;
    head_dim = 128;
    intermediate_dim = 768;
    n_routed_experts = 128;
    num_experts_per_tok = 8;
    expert_names = {"mlp", "gate_proj", "up_proj", "down_proj"};
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    attention_bias_field(f);
    window_fields(f, false);
    expert_fields(f);
    f("norm_topk_prob", norm_topk_prob, "whether the weights of a token's experts add up to 1");
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    hf("moe_intermediate_size", intermediate_dim);
    hf(hf.has("num_local_experts") ? "num_local_experts" : "num_experts", n_routed_experts);
    hf("num_experts_per_tok", num_experts_per_tok);
    hf("norm_topk_prob", norm_topk_prob, false);
    hf("attention_bias", attention_bias, false);
    bool windows = sliding_window.has_value();
    hf("use_sliding_window", windows, false);
    hf("sliding_window", sliding_window, 4096);
    if (!windows) sliding_window.reset();
    hf.require("decoder_sparse_step", int64_t{1});
    std::optional<std::vector<int64_t>> dense;
    hf("mlp_only_layers", dense, {});
    if (dense && !dense->empty()) hf.refuse("mlp_only_layers", "no layer: all have experts");
    hf.ignore({"max_window_layers"});
  }
};

}  // namespace

extern const ModelEntry qwen3_moe_entry;
const ModelEntry qwen3_moe_entry =
    decoder_entry<Qwen3MoeConfig>("qwen3_moe", "Qwen 3 with mixtures of experts in all blocks",
                                  "qwen3_moe", "Qwen3MoeForCausalLM");

}  // namespace levanter::models
