// What the trainer, the evaluator and the generator need of a model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "compat/hf_tokenizer.h"
#include "models/model_config.h"
#include "nn/scope.h"
#include "ops/ops.h"

namespace levanter::models {

/// The inputs of one microbatch, as values of the graph.
struct LmBatch {
  NamedArray tokens;        ///< i32 [batch, position]
  NamedArray segment_ids;   ///< i32 [batch, position]; attention stays inside a segment
  NamedArray positions;     ///< i32 [batch, position], from 0 in each window
  NamedArray dropout_keys;  ///< u32 [batch, key_word]; empty: nothing is dropped

  /// Attention of a block's queries, keys and values, [batch, position, kv_head, (q_group,)
  /// head_dim] each, inside their segments.
  NamedArray attend(Operand q, NamedArray k, NamedArray v, AttentionOptions options) const;
};

/// A language model whose parameters have been declared.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  /// The final hidden state, [batch, position, embed]: what the head multiplies.
  virtual NamedArray hidden(const LmBatch& batch) const = 0;
  /// The head, [vocab, embed]: the parameter itself, not packed.
  virtual NamedArray head() const = 0;
  /// What bends the head's logits: soft_cap tanh(logit / soft_cap); 0 for none.
  virtual double logit_soft_cap() const { return 0; }
};

/// One family: src/models/<name>.cpp defines `<name>_entry`.
struct ModelEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<config::Choosable> (*make_config)();
  std::unique_ptr<LanguageModel> (*build)(const nn::Scope& root, const ModelConfig& config,
                                          int64_t vocab_size);
  /// The sum over layers of heads x head_dim: attention's share of the FLOPs of a token is 12 T
  /// times this (see infer/trace.h).
  int64_t (*attention_width)(const ModelConfig& config);
  /// What a config.json calls it, "gpt2", and its class with a head, "GPT2LMHeadModel".
  const char* hf_type;
  const char* hf_architecture;
};

std::span<const ModelEntry* const> entries();
/// A model's shape as a Hugging Face folder has it.
struct HfModel {
  const ModelEntry* family;
  std::unique_ptr<ModelConfig> config;
};
/// error  kCheckpoint naming the family or setting that is not known here
HfModel read_hf_model(const std::string& folder);

/// The text of the config.json of a model, its vocab_size known; read_hf_model reads it back.
///   dtype  of most tensors: "float32", "bfloat16", "float16"
std::string hf_config_text(const HfModel& model, const compat::HfTokenIds& ids, std::string dtype);

/// The family called `name`, which a loaded config always names rightly.
const ModelEntry& entry(std::string_view name);

}  // namespace levanter::models
