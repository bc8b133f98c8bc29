// The transformer that the families after Llama share: RMS norms, rotary positions, grouped
// queries, a gated MLP. A family chooses its parts; paths are Hugging Face's tensor names.
#pragma once

#include <memory>

#include "models/decoder_config.h"
#include "models/model.h"

namespace levanter::models {

/// Declares the parameters of a decoder.
std::unique_ptr<LanguageModel> make_decoder(const nn::Scope& root, const DecoderConfig& config,
                                            int64_t vocab_size);
/// Takes the keys of a config.json that these families share: sizes, activation, rotary positions.
void read_decoder_config(compat::HfConfig& hf, DecoderConfig& config);
/// ModelEntry::attention_width of any decoder.
int64_t decoder_attention_width(const ModelConfig& config);

}  // namespace levanter::models
