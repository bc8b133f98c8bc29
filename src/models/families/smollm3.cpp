// SmolLM3 (Bakouch et al. 2025): Llama in which every fourth layer has no positions (Yang et al.
// 2025, arXiv:2501.18795).
#include <vector>

#include "models/decoder.h"

namespace levanter::models {
namespace {

struct SmolLm3Config final : DecoderConfig {
  SmolLm3Config() {
    num_kv_heads = 4;
    tie_word_embeddings = true;
    layer_norm_epsilon = 1e-6;
    rope->theta = 2e6;
    no_rope_layer_interval = 4;
  }
  void fields(config::Fields& f) override {
    DecoderConfig::fields(f);
    bias_fields(f);
    f("no_rope_layer_interval", no_rope_layer_interval,
      "one layer in this many has no rotary positions; 0: every layer has them")
        .at_least(0);
  }
  void hf_keys(compat::HfConfig& hf) override {
    DecoderConfig::hf_keys(hf);
    bias_keys(hf);
    if (hf.writes() && no_rope_layer_interval == 0) return write_layers(hf);
    hf("no_rope_layer_interval", no_rope_layer_interval, 4);
    if (no_rope_layer_interval < 1) hf.refuse("no_rope_layer_interval", "at least 1");
    write_layers(hf);
  }

 private:
  std::vector<int64_t> layers() const {
    std::vector<int64_t> with_rope;
    for (int64_t i = 0; i < num_layers; ++i) with_rope.push_back(has_rope(i));
    return with_rope;
  }
  /// The list of layers, which where it is there says more than the interval.
  void write_layers(compat::HfConfig& hf) {
    std::optional<std::vector<int64_t>> said = layers();
    hf("no_rope_layers", said, layers());
    if (!said) return;
    if (static_cast<int64_t>(said->size()) > num_layers) said->resize(size_t(num_layers));
    for (int64_t n = 0; n <= num_layers; ++n)
      if (no_rope_layer_interval = n; layers() == *said) return;
    hf.refuse("no_rope_layers", "0 in every n-th layer, 1 in all others");
  }
};

}  // namespace

extern const ModelEntry smollm3_entry;
const ModelEntry smollm3_entry = decoder_entry<SmolLm3Config>(
    "smollm3", "SmolLM 3: Llama in which every fourth layer has no positions", "smollm3",
    "SmolLM3ForCausalLM");

}  // namespace levanter::models
