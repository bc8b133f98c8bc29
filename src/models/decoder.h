// The transformer that the families after Llama share: RMS norms, rotary positions, grouped
// queries, a gated MLP. A family chooses its parts; paths are Hugging Face's tensor names.
#pragma once

#include <memory>

#include "models/decoder_config.h"
#include "models/model.h"

namespace levanter::models {

/// ModelEntry::build of any decoder.
std::unique_ptr<LanguageModel> build_decoder(const nn::Scope& root, const ModelConfig& config,
                                             int64_t vocab_size);
/// ModelEntry::attention_width of any decoder.
int64_t decoder_attention_width(const ModelConfig& config);

/// A family whose config, derived from DecoderConfig, is Config.
template <class Config>
constexpr ModelEntry decoder_entry(const char* name, const char* summary, const char* hf_type,
                                   const char* hf_architecture) {
  return {
      name,    summary,        config::make_choice<Config>, build_decoder, decoder_attention_width,
      hf_type, hf_architecture};
}

}  // namespace levanter::models
