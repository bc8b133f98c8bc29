// What a config.json leaves out, and what it says that changes nothing here: the defaults and the
// generation settings of Transformers 5.24, and what public files have in addition.
#include "models/hf_keys.h"

#include "base/strings.h"

namespace levanter::models {
namespace {

struct FamilyDefaults {
  std::string_view hf_type;
  const char* json;
};

// The defaults of Transformers' configuration classes, of the keys that are read here.
constexpr FamilyDefaults kDefaults[] = {
    {"gpt2", R"({"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12,
      "n_head": 12, "n_inner": null, "activation_function": "gelu_new", "resid_pdrop": 0.1,
      "embd_pdrop": 0.1, "attn_pdrop": 0.1, "layer_norm_epsilon": 1e-5, "initializer_range": 0.02,
      "scale_attn_by_inverse_layer_idx": false, "tie_word_embeddings": true})"},
    {"llama", R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": null,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 2048,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 1e4})"},
    {"mistral", R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 131072,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 1e4,
      "sliding_window": 4096})"},
    {"mixtral", R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 131072,
      "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "rope_theta": 1e6,
      "sliding_window": null, "num_local_experts": 8, "num_experts_per_tok": 2})"},
    {"qwen2", R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 32768,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 1e4,
      "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28})"},
    {"qwen3", R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
      "head_dim": 128, "hidden_act": "silu", "max_position_embeddings": 32768,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 1e4,
      "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28})"},
    {"qwen3_moe", R"({"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
      "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 4,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 32768,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 1e4,
      "use_sliding_window": false, "sliding_window": 4096, "moe_intermediate_size": 768,
      "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": false})"},
    {"gemma", R"({"vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576,
      "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16,
      "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "rope_theta": 1e4})"},
    {"gemma2", R"({"vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216,
      "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
      "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 8192,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "rope_theta": 1e4,
      "query_pre_attn_scalar": 256, "sliding_window": 4096, "final_logit_softcapping": 30.0,
      "attn_logit_softcapping": 50.0})"},
    {"gemma3_text", R"({"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
      "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
      "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "rope_theta": 1e6,
      "rope_local_base_freq": 1e4, "query_pre_attn_scalar": 256, "sliding_window": 4096,
      "final_logit_softcapping": null, "attn_logit_softcapping": null})"},
    {"olmo2", R"({"vocab_size": 50304, "hidden_size": 4096, "intermediate_size": 11008,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": null,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 2048,
      "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "rope_theta": 1e4})"},
    {"olmo3", R"({"vocab_size": 50304, "hidden_size": 4096, "intermediate_size": 11008,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": null,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 2048,
      "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "rope_theta": 5e5,
      "sliding_window": 4096})"},
    {"smollm3", R"({"vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 11008,
      "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 4,
      "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 32768,
      "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "rope_theta": 2e6,
      "no_rope_layers": null, "no_rope_layer_interval": 4})"},
};

struct NeutralKey {
  const char *key, *value;
  const char* effect;  ///< of another value
};

// Nothing while they have this value.
constexpr NeutralKey kNeutral[] = {
    {"add_cross_attention", "false", "layers that attend to an encoder"},
    {"attention_bias", "false", "biases in attention"},
    {"bias", "false", "biases"},
    {"clip_qkv", "null", "queries, keys and values are cut off"},
    {"embedding_multiplier", "1", "embeddings are scaled"},
    {"is_encoder_decoder", "false", "an encoder"},
    {"layer_types", "\"full_attention\"", "layers that attend in another way"},
    {"lm_head_bias", "false", "biases of the head"},
    {"logit_scale", "1", "logits are scaled"},
    {"mlp_bias", "false", "biases in the MLP"},
    {"num_local_experts", "0", "mixtures of experts"},
    {"no_rope_layers", "1", "layers without rotary positions"},
    {"num_nextn_predict_layers", "0", "layers that predict further tokens"},
    {"parallel_attn", "false", "attention and MLP side by side"},
    {"partial_rotary_factor", "1", "a part of a head is rotated"},
    {"pruned_heads", "{}", "heads that are not there"},
    {"qk_layernorm", "false", "norms of queries and keys"},
    {"qk_norm", "false", "norms of queries and keys"},
    {"quantization", "{}", "the weights are quantised"},
    {"quantization_config", "{}", "the weights are quantised"},
    {"residual_multiplier", "1", "what blocks add is scaled"},
    {"rope_interleaved", "false", "neighbours are rotated, not halves"},
    {"shared_expert_intermediate_size", "0", "an expert that every token goes through"},
    {"scale_attn_weights", "true", "scores that are not divided by the root of head_dim"},
    {"sliding_window", "null", "queries see only the nearest keys"},
    {"tie_encoder_decoder", "false", "an encoder"},
    {"use_bias", "false", "biases"},
    {"use_bidirectional_attention", "false", "queries see the keys behind them"},
    {"use_mrope", "false", "positions of several axes"},
    {"use_parallel_residual", "false", "attention and MLP side by side"},
    {"use_qk_norm", "false", "norms of queries and keys"},
    {"use_rope", "true", "no rotary positions"},
};

struct TrainingKey {
  const char *key, *value;
};

// Another value changes training, and not what a trained model computes.
constexpr TrainingKey kTraining[] = {
    {"activation_dropout", "0"}, {"attn_pdrop", "0"},          {"dropout", "0"},
    {"embd_dropout", "0"},       {"embd_pdrop", "0"},          {"embedding_dropout", "0"},
    {"hidden_dropout", "0"},     {"hidden_dropout_prob", "0"}, {"layerdrop", "0"},
    {"resid_pdrop", "0"},        {"residual_dropout", "0"},    {"router_jitter_noise", "0"},
};

void ignore_marks(compat::HfConfig& hf) {
  // What a file is, and what wrote it.
  hf.ignore({"architectures", "auto_map", "torch_dtype", "dtype", "transformers_version"});
  hf.ignore({"model_name", "model_type", "name_or_path", "_name_or_path", "_commit_hash"});
  hf.ignore({"transformers.js_config", "unsloth_*", "axolotl_config_path", "is_llama_config"});
  hf.ignore({"tokenizer_class", "custom_pipelines", "finetuning_task", "task_specific_params"});
  // How it is computed, to the same result.
  hf.ignore({"_attn_implementation*", "attn_implementation*", "_flash_attn_2_enabled"});
  hf.ignore({"_experts_implementation*", "experts_implementation*", "_moe_implementation*"});
  hf.ignore({"use_flash_attn", "use_flash_attention", "use_flash_attention_2", "use_sdpa"});
  hf.ignore({"use_cache", "gradient_checkpointing", "use_gradient_checkpointing", "torchscript"});
  hf.ignore(
      {"chunk_size_feed_forward", "pretraining_tp", "reorder_and_upcast_attn", "upcast_attn"});
  hf.ignore({"use_bfloat16", "fused_*", "low_cpu_mem_usage", "_fsdp_*", "tf_legacy_loss"});
  // Ids, and what else only a caller reads.
  hf.ignore({"bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id"});
  hf.ignore({"decoder_start_token_id", "return_dict", "output_attentions", "output_hidden_states"});
  hf.ignore({"n_ctx", "n_special", "predict_special_tokens", "is_decoder", "model_max_length"});
  hf.ignore({"max_sequence_length", "seq_length"});  // of Llama's first conversions
  hf.ignore({"cross_attention_hidden_size", "prefix", "tie_last_hidden_states"});
  hf.ignore({"max_window_layers"});  // nothing without a window
  // Heads of classes for other tasks.
  hf.ignore({"id2label", "label2id", "num_labels", "_num_labels", "problem_type", "summary_*"});
  hf.ignore({"classifier_dropout", "classifier_bias", "classifier_activation"});
  // Of a mixture's loss, which a run says itself.
  hf.ignore({"output_router_logits", "router_aux_loss_coef", "router_z_loss_coef"});
}

// Settings of generation, which older files had here.
void ignore_generation(compat::HfConfig& hf) {
  hf.ignore({"assistant_*", "bad_words_ids", "begin_suppress_tokens", "cache_config"});
  hf.ignore({"cache_implementation", "diversity_penalty", "do_sample", "early_stopping"});
  hf.ignore({"encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "epsilon_cutoff"});
  hf.ignore({"eta_cutoff", "exponential_decay_length_penalty", "forced_bos_token_id"});
  hf.ignore({"forced_eos_token_id", "guidance_scale", "length_penalty", "max_length"});
  hf.ignore({"max_new_tokens", "max_time", "min_length", "min_new_tokens", "min_p"});
  hf.ignore({"no_repeat_ngram_size", "num_assistant_tokens*", "num_beam_groups", "num_beams"});
  hf.ignore({"num_return_sequences", "output_logits", "output_scores", "penalty_alpha"});
  hf.ignore({"remove_invalid_values", "renormalize_logits", "repetition_penalty"});
  hf.ignore({"return_dict_in_generate", "sequence_bias", "stop_strings", "suppress_tokens"});
  hf.ignore({"target_lookbehind", "temperature", "token_healing", "top_h", "top_k", "top_p"});
  hf.ignore({"typical_p", "watermarking_config"});
}

}  // namespace

void take_hf_defaults(compat::HfConfig& hf, std::string_view hf_type) {
  for (const FamilyDefaults& family : kDefaults)
    if (family.hf_type == hf_type) hf.defaults(family.json);
}

std::vector<std::string> take_harmless_keys(compat::HfConfig& hf) {
  ignore_marks(hf);
  ignore_generation(hf);
  if (hf.neutral("use_sliding_window", "false", "queries see only the nearest keys"))
    hf.ignore({"sliding_window"});
  for (const NeutralKey& neutral : kNeutral) hf.neutral(neutral.key, neutral.value, neutral.effect);
  std::vector<std::string> in_training;
  for (const TrainingKey& key : kTraining)
    if (const std::string other = hf.other_than(key.key, key.value); !other.empty())
      in_training.push_back(cat(key.key, " = ", other));
  return in_training;
}

}  // namespace levanter::models
