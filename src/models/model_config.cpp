// The keys that every model has, and their bounds.
#include "models/model_config.h"

#include "models/model.h"

namespace levanter {

void ModelConfig::fields(config::Fields& f) {
  f("max_seq_len", max_seq_len, "tokens in one sequence").at_least(1).at_most(1e7).unit("tokens");
  f("vocab_size", vocab_size,
    "number of different tokens; by default the tokenizer's, and when set checked against it: with "
    "it, plan and bench need no data")
      .at_least(1)
      .at_most(1e8)
      .unit("tokens")
      .may_change();
  f.dropped("seq_len", "write max_seq_len");
  f.dropped("cross_entropy_block_size",
            "the loss is always computed in blocks; no size has to be chosen");
  f.dropped("scan_layers", "layers are always traced one by one, at no cost");
  f.dropped("attn_backend", "the backend chooses its attention kernel");
  f.dropped("use_flash_attention", "attention never builds the whole score matrix");
  f.dropped("flash_attention_block_size", "the backend chooses its tiles");
}

std::span<const config::ChoiceEntry> ModelConfig::choices() {
  static const auto kChoices = config::choices_of(models::entries());
  return kChoices;
}

}  // namespace levanter
