// What config.json files of well-known models say, in short: they load, or are refused rightly.
#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "models/decoder_config.h"
#include "models/model.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

models::HfModel read(const std::string& json) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "config.json", json);
  return models::read_hf_model(folder.path());
}

constexpr char kLlama2[] =
    R"("model_type": "llama", "architectures": ["LlamaForCausalLM"], "bos_token_id": 1,
       "eos_token_id": 2, "hidden_act": "silu", "initializer_range": 0.02, "use_cache": true,
       "torch_dtype": "float16", "tie_word_embeddings": false, "vocab_size": 32000)";
constexpr char kGpt2[] =
    R"("model_type": "gpt2", "activation_function": "gelu_new", "n_ctx": 1024, "n_embd": 768,
       "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "embd_pdrop": 0.1,
       "attn_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
       "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
       "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}})";

}  // namespace

TEST_CASE("configs of well-known models load", "[models]") {
  struct Case {
    const char* name;
    std::string json;
    int64_t layers;  ///< or 0 for GPT-2's
  };
  const Case cases[] = {
      {"GPT-2", cat("{", kGpt2, "}"), 0},
      {"GPT-2 medium", cat("{", kGpt2, R"(, "n_special": 0, "predict_special_tokens": true})"), 0},
      {"DistilGPT-2",
       cat("{", kGpt2,
           R"(, "_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}})"),
       0},
      {"DialoGPT",
       cat("{", kGpt2, R"(, "gradient_checkpointing": false, "use_cache": true, "n_inner": null,
           "reorder_and_upcast_attn": false, "scale_attn_by_inverse_layer_idx": false})"),
       0},
      {"the first conversions of Llama", cat("{", kLlama2, R"(, "max_sequence_length": 2048,
           "hidden_size": 4096, "num_hidden_layers": 32, "rms_norm_eps": 1e-06})"),
       32},
      {"Llama 2 13B", cat("{", kLlama2, R"(, "hidden_size": 5120, "intermediate_size": 13824,
           "max_position_embeddings": 4096, "num_attention_heads": 40, "num_hidden_layers": 40,
           "num_key_value_heads": 40, "pretraining_tp": 2, "rms_norm_eps": 1e-05,
           "rope_scaling": null, "pad_token_id": 0})"),
       40},
      {"Vicuna 16k", cat("{", kLlama2, R"(, "_name_or_path": "vicuna", "max_sequence_length": 16384,
           "rope_scaling": {"factor": 4.0, "type": "linear"}, "transformers_version": "4.31.0"})"),
       32},
      {"CodeLlama", cat("{", kLlama2, R"(, "rope_theta": 1000000, "pretraining_tp": 1,
           "auto_map": {"AutoConfig": "a.B"}})"),
       32},
      {"DeepSeek LLM", cat("{", kLlama2, R"(, "num_hidden_layers": 30, "pretraining_tp": 1,
           "attention_bias": false, "rope_theta": 10000.0})"),
       30},
      {"Llama 3.1", R"({"model_type": "llama", "attention_bias": false, "attention_dropout": 0.0,
           "eos_token_id": [128001, 128008, 128009], "mlp_bias": false, "num_key_value_heads": 8,
           "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 8192, "rope_type": "llama3"},
           "rope_theta": 500000.0, "vocab_size": 128256, "max_position_embeddings": 131072})",
       32},
      {"Llama 3.2 by unsloth", R"({"model_type": "llama", "head_dim": 64, "unsloth_fixed": true,
           "num_hidden_layers": 16, "num_key_value_heads": 8, "pad_token_id": 128004,
           "tie_word_embeddings": true, "unsloth_version": "2024.9"})",
       16},
      {"SmolLM", R"({"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
           "is_llama_config": true, "num_attention_heads": 9, "num_hidden_layers": 30,
           "num_key_value_heads": 3, "rope_interleaved": false, "rope_scaling": null,
           "tie_word_embeddings": true, "transformers.js_config": {"dtype": "q4"}})",
       30},
      {"Mistral 0.1", R"({"model_type": "mistral", "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
           "sliding_window": 4096, "rope_theta": 10000.0, "max_position_embeddings": 32768})",
       32},
      {"Mistral 0.3", R"({"model_type": "mistral", "sliding_window": null, "rope_theta": 1e6,
           "vocab_size": 32768, "attention_dropout": 0.0})",
       32},
      {"YaRN Mistral", R"({"model_type": "mistral", "rope_scaling": {"factor": 16.0,
           "finetuned": true, "original_max_position_embeddings": 8192, "type": "yarn"},
           "sliding_window": 131072, "use_flash_attention_2": true})",
       32},
      {"Mixtral", R"({"model_type": "mixtral", "num_experts_per_tok": 2, "num_local_experts": 8,
           "output_router_logits": false, "router_aux_loss_coef": 0.02, "rope_theta": 1e6,
           "sliding_window": null})",
       32},
      {"Qwen 2.5", R"({"model_type": "qwen2", "max_window_layers": 21, "sliding_window": 32768,
           "use_mrope": false, "use_sliding_window": false, "num_hidden_layers": 24,
           "num_key_value_heads": 2, "hidden_size": 896, "num_attention_heads": 14})",
       24},
      {"Qwen 2.5 for long texts", R"({"model_type": "qwen2", "rope_scaling": {"factor": 4.0,
           "original_max_position_embeddings": 32768, "type": "yarn"}})",
       32},
      {"Qwen 3", R"({"model_type": "qwen3", "attention_bias": false, "head_dim": 128,
           "max_window_layers": 28, "num_hidden_layers": 28, "rope_scaling": null,
           "sliding_window": null, "use_sliding_window": false})",
       28},
      {"Qwen 3 with experts", R"({"model_type": "qwen3_moe", "decoder_sparse_step": 1,
           "mlp_only_layers": [], "norm_topk_prob": true, "num_experts": 128, "head_dim": 128,
           "num_hidden_layers": 48, "max_window_layers": 48, "router_aux_loss_coef": 0.001})",
       48},
      {"the first Gemma", R"({"model_type": "gemma", "hidden_act": "gelu", "head_dim": 256,
           "hidden_activation": null, "num_hidden_layers": 18, "num_key_value_heads": 1,
           "rope_scaling": null, "rope_theta": 10000.0})",
       18},
      {"Gemma 2", R"({"model_type": "gemma2", "cache_implementation": "hybrid",
           "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
           "query_pre_attn_scalar": 256, "sliding_window_size": 4096})",
       26},
      {"Gemma 3", R"({"model_type": "gemma3_text", "attn_logit_softcapping": null,
           "cache_implementation": "hybrid", "rope_local_base_freq": 10000, "sliding_window": 512,
           "sliding_window_pattern": 6, "rope_theta": 1000000, "rope_scaling": null})",
       26},
      {"OLMo 2", R"({"model_type": "olmo2", "attention_bias": false, "rms_norm_eps": 1e-06,
           "rope_theta": 500000, "rope_scaling": null})",
       32},
      {"SmolLM 3", R"({"model_type": "smollm3", "no_rope_layer_interval": 4, "mlp_bias": false,
           "no_rope_layers": [1, 1, 1, 0, 1, 1, 1, 0], "num_hidden_layers": 8,
           "use_sliding_window": false, "sliding_window": null, "rope_theta": 5000000.0})",
       8},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const models::HfModel model = read(c.json);
    CHECK(model.not_trained.empty());
    if (const auto* decoder = dynamic_cast<const DecoderConfig*>(model.config.get()))
      CHECK(decoder->num_layers == c.layers);
    else
      CHECK(c.layers == 0);
  }
}

TEST_CASE("configs of what is no such model are refused by what differs", "[models]") {
  const auto fault = [](const std::string& json) {
    return failure_of(ErrorKind::kCheckpoint, [&] { read(json); });
  };
  CHECK_THAT(fault(cat("{", kLlama2, R"(, "quantization_config": {"bits": 4}})")),
             Contains("the weights are quantised"));
  CHECK_THAT(fault(cat("{", kLlama2, R"(, "quantization": {"bits": 4, "group_size": 64}})")),
             Contains("the weights are quantised"));
  CHECK_THAT(fault(cat("{", kLlama2, R"(, "rope_scaling": {"type": "longrope"}})")),
             Contains("rope_scaling.type = \"longrope\""));
  CHECK_THAT(fault(R"({"model_type": "qwen2_vl"})"), Contains("\"qwen2_vl\" is not supported"));
  CHECK_THAT(fault(R"({"model_type": "phi3"})"), Contains("\"phi3\" is not supported"));
  CHECK_THAT(fault(R"({"model_type": "qwen3_moe", "mlp_only_layers": [0]})"),
             Contains("mlp_only_layers"));
  CHECK_THAT(fault(R"({"model_type": "smollm3", "num_hidden_layers": 3,
                       "no_rope_layers": [0, 1, 1]})"),
             Contains("no_rope_layers"));
}
