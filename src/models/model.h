// What the trainer, the evaluator and the generator need of a model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compat/hf_tokenizer.h"
#include "models/model_config.h"
#include "nn/layers.h"
#include "nn/scope.h"
#include "ops/function.h"
#include "ops/ops.h"

namespace levanter::models {

/// What training wants to know of a model besides its final hidden state.
struct Measure {
  /// Of the metric. Values of one name are added; of a vector, each place is a metric of its own,
  /// its index where the name has "{}".
  std::string name;
  NamedArray value;        ///< a mean over the microbatch's tokens; a scalar, or with one axis
  double coefficient = 0;  ///< of a scalar in the loss
  bool is_part = false;    ///< whether the value is a part already of the global batch's mean
};

/// What attention is like in one module, query by query.
struct AttentionMeasure {
  std::string module;  ///< its path
  AttentionStatistics statistics;
};

/// Keys and values of a text's tokens so far, kept from piece to piece: arguments of the function
/// being traced, [batch, kv_head, key_position, head_dim] each, whose updated forms are results in
/// the same memory.
struct DecodingCache {
  Function& function;
  int64_t room;    ///< tokens of a text that the caches hold
  int64_t window;  ///< tokens that a text has at most

  /// A cache with rows written at their positions, [batch, position]; none at one below 0.
  NamedArray append(NamedArray rows, NamedArray positions);
};

/// The inputs of one microbatch, as values of the graph.
struct LmBatch {
  NamedArray tokens;        ///< i32 [batch, position]
  NamedArray segment_ids;   ///< i32 [batch, position]; attention stays inside; empty: one segment
  NamedArray positions;     ///< i32 [batch, position], from 0 in each window
  NamedArray dropout_keys;  ///< u32 [batch, key_word]; empty: nothing is dropped
  std::vector<Measure>* measures = nullptr;  ///< where a model appends its own; null: not wanted
  std::vector<AttentionMeasure>* attention = nullptr;  ///< the same of `attend`
  /// Where the batch is a piece of each text: what came before, with the piece's own positions.
  DecodingCache* cache = nullptr;

  /// Attention of a block's queries, keys and values, [batch, position, kv_head, (q_group,)
  /// head_dim] each, inside their segments or to all that is in the cache.
  NamedArray attend(Operand q, NamedArray k, NamedArray v, AttentionOptions options) const;
  /// The tokens that a whole text has at most: more than there are here when it comes in pieces.
  int64_t window() const;
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
  /// Settings that change training alone and are not implemented: "router_jitter_noise = 0.1".
  std::vector<std::string> not_trained = {};
};
/// error  kCheckpoint naming the family or setting that is not known here
HfModel read_hf_model(const std::string& folder);

/// The text of the config.json of a model, its vocab_size known; read_hf_model reads it back.
///   dtype  of most tensors: "float32", "bfloat16", "float16"
std::string hf_config_text(const HfModel& model, const compat::HfTokenIds& ids, std::string dtype);

/// The family called `name`, which a loaded config always names rightly.
const ModelEntry& entry(std::string_view name);

}  // namespace levanter::models
