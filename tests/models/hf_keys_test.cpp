// Keys of a config.json as people have them: defaults, null, marks, neutral values, what remains.
#include "models/hf_keys.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "compat/safetensors.h"
#include "models/decoder_config.h"
#include "models/model.h"
#include "support/fault.h"
#include "support/safetensors_file.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;
using nlohmann::json;

namespace {

json small(const char* type) {
  return {{"model_type", type},       {"vocab_size", 32},       {"hidden_size", 8},
          {"intermediate_size", 12},  {"num_hidden_layers", 2}, {"num_attention_heads", 2},
          {"num_key_value_heads", 1}, {"head_dim", 4},          {"max_position_embeddings", 16}};
}

models::HfModel read(const json& config) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "config.json", config.dump());
  return models::read_hf_model(folder.path());
}

/// The model as a config.json of ours: equal texts are equal models.
std::string model_text(const json& config) {
  return models::hf_config_text(read(config), {}, "float32");
}

json with(json config, const json& more) {
  config.update(more);
  return config;
}

DecoderConfig& decoder(const models::HfModel& model) {
  return dynamic_cast<DecoderConfig&>(*model.config);
}

}  // namespace

TEST_CASE("keys that change nothing are taken, and are as if they were not there", "[models]") {
  const json llama = small("llama");
  const std::string plain = model_text(llama);
  const json harmless[] = {
      {{"transformers.js_config", {{"kv_cache_dtype", {{"q4f16", "float16"}}}}}},
      {{"unsloth_version", "2024.9"}, {"unsloth_fixed", true}},
      {{"_attn_implementation_autoset", true}, {"_attn_implementation_internal", "sdpa"}},
      {{"use_flash_attention_2", true}, {"_flash_attn_2_enabled", true}},
      {{"auto_map", {{"AutoModelForCausalLM", "modeling_other.Other"}}}},
      {{"temperature", 0.7}, {"top_p", 0.9}, {"do_sample", true}, {"max_length", 4096}},
      {{"suppress_tokens", {1, 2}}, {"early_stopping", false}, {"num_beams", 1}},
      {{"gradient_checkpointing", true}, {"use_cache", false}, {"torchscript", true}},
      {{"pretraining_tp", 2}},
      {{"quantization_config", nullptr}, {"sliding_window", nullptr}, {"clip_qkv", nullptr}},
      {{"rope_scaling", nullptr}, {"head_dim", nullptr}, {"rms_norm_eps", nullptr}},
      {{"use_sliding_window", false}, {"sliding_window", 4096}, {"max_window_layers", 21}},
      {{"layer_types", {"full_attention", "full_attention"}}, {"no_rope_layers", {1, 1}}},
      {{"rope_interleaved", false}, {"is_llama_config", true}, {"partial_rotary_factor", 1.0}},
      {{"attention_bias", false}, {"mlp_bias", false}, {"qk_norm", false}, {"pruned_heads", {}}},
      {{"shared_expert_intermediate_size", 0}},
      {{"id2label", {{"0", "LABEL_0"}}}, {"num_labels", 1}, {"classifier_dropout", 0.1}},
      {{"hidden_act", "silu"}, {"rms_norm_eps", 1e-6}, {"rope_theta", 10000}},
  };
  for (const json& more : harmless) {
    INFO(more.dump());
    CHECK(model_text(with(llama, more)) == plain);
  }
  const json gpt2 = {{"model_type", "gpt2"}, {"n_embd", 8}, {"n_layer", 2}, {"n_head", 2}};
  CHECK(model_text(with(gpt2, {{"n_special", 0},
                               {"predict_special_tokens", true},
                               {"n_ctx", 128},
                               {"gradient_checkpointing", false},
                               {"summary_type", "cls_index"},
                               {"reorder_and_upcast_attn", true}})) == model_text(gpt2));
}

TEST_CASE("a key that changes the model is refused with what it would change", "[models]") {
  const auto fault = [](const json& more) {
    return failure_of(ErrorKind::kCheckpoint, [&] { read(with(small("llama"), more)); });
  };
  CHECK_THAT(fault({{"quantization_config", {{"bits", 4}}}}),
             Contains("quantization_config = {\"bits\":4} (the weights are quantised)"));
  CHECK_THAT(fault({{"sliding_window", 4}}),
             Contains("sliding_window = 4 (queries see only the nearest keys)"));
  CHECK_THAT(fault({{"use_sliding_window", true}, {"sliding_window", 4}}),
             Contains("use_sliding_window = true (") && Contains("sliding_window = 4 ("));
  CHECK_THAT(fault({{"layer_types", {"full_attention", "chunked_attention"}}}),
             Contains("layer_types = [\"full_attention\",\"chunked_attention\"] (layers"));
  CHECK_THAT(fault({{"partial_rotary_factor", 0.5}}), Contains("a part of a head is rotated"));
  CHECK_THAT(fault({{"residual_multiplier", 0.2}}), Contains("what blocks add is scaled"));
  CHECK_THAT(fault({{"hidden_activation", "gelu"}}),
             Contains("not supported: hidden_activation = \"gelu\""));
  CHECK_THAT(fault({{"shared_expert_intermediate_size", 64}}),
             Contains("an expert that every token goes through"));
  CHECK_THAT(fault({{"some_new_key", 1}, {"other", nullptr}}),
             Contains("not supported: some_new_key = 1\n"));
}

TEST_CASE("a key that a folder lacks has its family's default", "[models]") {
  struct Case {
    const char* type;
    double epsilon, theta;
    bool tied;
    const char* activation;
  };
  constexpr Case kCases[] = {
      {"llama", 1e-6, 1e4, false, "silu"},          {"mistral", 1e-6, 1e4, false, "silu"},
      {"mixtral", 1e-5, 1e6, false, "silu"},        {"qwen2", 1e-6, 1e4, false, "silu"},
      {"qwen3", 1e-6, 1e4, false, "silu"},          {"qwen3_moe", 1e-6, 1e4, false, "silu"},
      {"gemma", 1e-6, 1e4, true, "gelu_new"},       {"gemma2", 1e-6, 1e4, true, "gelu_new"},
      {"gemma3_text", 1e-6, 1e6, true, "gelu_new"}, {"olmo2", 1e-5, 1e4, false, "silu"},
      {"olmo3", 1e-5, 5e5, false, "silu"},
  };
  for (const Case& c : kCases) {
    INFO(c.type);
    const models::HfModel model = read(small(c.type));
    CHECK(decoder(model).layer_norm_epsilon == c.epsilon);
    CHECK(decoder(model).rope->theta == c.theta);
    CHECK(decoder(model).tie_word_embeddings == c.tied);
    CHECK(decoder(model).activation_function == c.activation);
  }
  json bare = {{"model_type", "mistral"}};
  CHECK(decoder(read(bare)).kv_heads() == 8);
  CHECK(decoder(read(bare)).sliding_window == 4096);
  // Null is no value where the reference has one, and the absence of one where it may have none.
  bare.update({{"num_key_value_heads", nullptr}, {"sliding_window", nullptr}});
  CHECK(decoder(read(bare)).kv_heads() == 32);
  CHECK_FALSE(decoder(read(bare)).sliding_window);
  const models::HfModel gemma2 = read(small("gemma2"));
  CHECK(decoder(gemma2).attn_soft_cap == 50);
  CHECK(decoder(gemma2).logit_soft_cap == 30);
  CHECK(decoder(gemma2).query_pre_attn_scalar == 256);
}

TEST_CASE("every family is read from a folder that says nothing but its type", "[models]") {
  for (const models::ModelEntry* family : models::entries()) {
    INFO(family->name);
    CHECK_NOTHROW(read({{"model_type", family->hf_type}}));
  }
}

TEST_CASE("GELU by the names that mean the same, in Gemma's first files too", "[models]") {
  const auto activation = [](const char* type, const json& more) {
    return decoder(read(with(small(type), more))).activation_function;
  };
  CHECK(activation("gemma", {{"hidden_act", "gelu"}}) == "gelu_new");
  CHECK(activation("gemma", {{"hidden_act", "gelu"}, {"hidden_activation", nullptr}}) ==
        "gelu_new");
  CHECK(activation("gemma", {{"hidden_act", "gelu_pytorch_tanh"}}) == "gelu_new");
  CHECK(activation("gemma2", {{"hidden_act", "silu"}}) == "gelu_new");  // nobody reads it there
  // Gemma 1 reads hidden_act alone, the others hidden_activation alone.
  CHECK(activation("gemma", {{"hidden_act", "gelu"}, {"hidden_activation", "silu"}}) == "gelu_new");
  CHECK(activation("gemma", {{"hidden_act", "silu"}, {"hidden_activation", "gelu"}}) == "silu");
  CHECK(activation("gemma", {{"hidden_activation", "gelu"}}) == "gelu_new");
  CHECK(activation("gemma3_text", {{"hidden_activation", "gelu"}}) == "gelu");
  CHECK(activation("llama", {{"hidden_act", "gelu"}}) == "gelu");
  for (const char* name : {"gelu_fast", "gelu_new", "gelu_accurate", "gelu_python_tanh"})
    CHECK(activation("llama", {{"hidden_act", name}}) == "gelu_new");
}

TEST_CASE("Gemma 3 has no cap of attention's scores in a Hugging Face folder", "[models]") {
  const json capped = with(small("gemma3_text"),
                           {{"attn_logit_softcapping", 2.0}, {"final_logit_softcapping", 3.0}});
  const models::HfModel model = read(capped);
  CHECK_FALSE(decoder(model).attn_soft_cap);
  CHECK(decoder(model).logit_soft_cap == 3);
  CHECK(decoder(model).without_hf_form().empty());
  decoder(model).attn_soft_cap = 2;
  CHECK(decoder(model).without_hf_form() == "attn_logit_softcapping");
}

TEST_CASE("a folder whose head is not its embedding is of an untied model", "[models]") {
  for (const char* type : {"llama", "gemma"})
    for (const float last : {2.0F, 3.0F}) {
      const TemporaryFolder folder;
      write_file_atomic(folder / "config.json",
                        with(small(type), {{"tie_word_embeddings", true}}).dump());
      const float embedding[] = {1, 2}, head[] = {1, last};
      const safetensors::WriteTensor tensors[] = {
          {{"lm_head.weight", safetensors::Element::f32, {2}}, std::as_bytes(std::span(head))},
          {{"model.embed_tokens.weight", safetensors::Element::f32, {2}},
           std::as_bytes(std::span(embedding))}};
      safetensors::write_file(folder / "model.safetensors", tensors);
      CHECK(decoder(models::read_hf_model(folder.path())).tie_word_embeddings == (last == 2));
    }
}

TEST_CASE("a dynamic base grows from max_position_embeddings alone", "[models]") {
  // Transformers passes over the type's original_max_position_embeddings.
  const json dynamic = {{"rope_type", "dynamic"}, {"factor", 2.0}};
  const json said = with(dynamic, {{"original_max_position_embeddings", 8}});
  const auto frequencies = [](const json& rope) {
    return decoder(read(with(small("llama"), {{"rope_scaling", rope}}))).rope->frequencies(4, 16);
  };
  CHECK(frequencies(said).inverse == frequencies(dynamic).inverse);
  CHECK(frequencies(said).inverse == frequencies({{"rope_type", "default"}}).inverse);
  const models::HfModel model = read(with(small("llama"), {{"rope_scaling", said}}));
  CHECK(decoder(model).without_hf_form().empty());
  decoder(model).max_seq_len = 32;  // of which 16 are the original ones: no config.json says that
  CHECK(decoder(model).without_hf_form() == "rope.original_max_position_embeddings");
}

TEST_CASE("families whose layers turn by their kind are read as in Transformers", "[models]") {
  const json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"rope_theta", 1e5}};
  for (const char* type : {"gemma3_text", "olmo3"})
    CHECK_THAT(failure_of(ErrorKind::kCheckpoint,
                          [&] {
                            read(with(small(type), {{"rope_parameters", yarn}}));
                          }),
               Contains("rope_parameters = {") && Contains("full_attention and sliding_attention"));
  const auto thetas = [](const char* type, const json& more) {
    const models::HfModel model = read(with(small(type), more));
    return std::pair(decoder(model).rope->theta, decoder(model).local_rope_theta.value());
  };
  const json kind = {{"rope_type", "default"}};
  const json kinds = {{"full_attention", kind}, {"sliding_attention", kind}};
  const json older = {{"rope_theta", 100.0}, {"rope_local_base_freq", 50.0}};
  CHECK(thetas("gemma3_text", with(older, {{"rope_parameters", kinds}})) == std::pair(100.0, 50.0));
  CHECK(thetas("gemma3_text", {{"rope_parameters",
                                {{"sliding_attention", with(kind, {{"rope_theta", 70.0}})}}}}) ==
        std::pair(1e6, 70.0));
  CHECK(thetas("olmo3", older) == std::pair(100.0, 100.0));
}

TEST_CASE("what a rotary type says in a config.json comes back", "[models]") {
  const json types[] = {{{"rope_type", "linear"}, {"factor", 3.0}},
                        {{"rope_type", "dynamic"}, {"factor", 3.0}},
                        {{"rope_type", "llama3"},
                         {"factor", 3.0},
                         {"low_freq_factor", 2.0},
                         {"high_freq_factor", 5.0},
                         {"original_max_position_embeddings", 8}},
                        {{"rope_type", "yarn"},
                         {"factor", 3.0},
                         {"beta_fast", 16.0},
                         {"beta_slow", 2.0},
                         {"original_max_position_embeddings", 8},
                         {"attention_factor", 1.5},
                         {"mscale", 0.5},
                         {"mscale_all_dim", 0.25},
                         {"truncate", false}}};
  for (const json& type : types) {
    const json whole = with(type, {{"rope_theta", 100.0}});
    const json text = json::parse(model_text(with(small("llama"), {{"rope_scaling", whole}})));
    CHECK(text["rope_scaling"] == whole);
    for (const auto& [key, value] : type.items()) {
      if (!key.ends_with("factor") || key == "attention_factor") continue;
      json less = whole;
      less.erase(key);
      CHECK_THAT(failure_of(ErrorKind::kCheckpoint,
                            [&] {
                              read(with(small("llama"), {{"rope_scaling", less}}));
                            }),
                 Contains("rope_scaling." + key + " is missing"));
    }
  }
}

TEST_CASE("Llama's attention and its MLP may have biases, each without the other", "[models]") {
  const auto read_back = [](const json& more) {
    const json text = json::parse(model_text(with(small("llama"), more)));
    return std::pair<bool, bool>(text["attention_bias"], text["mlp_bias"]);
  };
  CHECK(read_back({{"attention_bias", true}}) == std::pair(true, false));
  CHECK(read_back({{"attention_bias", true}, {"mlp_bias", true}}) == std::pair(true, true));
  CHECK(read_back({{"mlp_bias", true}}) == std::pair(false, true));
}

TEST_CASE("where kinds of layers differ, YaRN's truncate stands beside their objects", "[models]") {
  // As Transformers 5.24 has it: inside the objects, or in the older key, it changes nothing.
  const json yarn = {{"rope_type", "yarn"},
                     {"rope_theta", 1e4},
                     {"factor", 8.0},
                     {"original_max_position_embeddings", 4}};
  const json local = {{"rope_type", "default"}, {"rope_theta", 1e4}};
  const json inside = with(yarn, {{"truncate", false}});
  const json olmo = small("olmo3");
  const auto frequencies = [](const json& config) {
    return decoder(read(config)).rope->frequencies(4, 16).inverse;
  };
  const auto kinds = [&](const json& full) {
    return with(olmo,
                {{"rope_parameters", {{"full_attention", full}, {"sliding_attention", local}}}});
  };
  const std::vector<double> whole = frequencies(kinds(yarn));
  CHECK(frequencies(kinds(inside)) == whole);
  json beside = kinds(yarn);
  beside["rope_parameters"]["truncate"] = false;
  CHECK(frequencies(beside) != whole);
  CHECK(frequencies(json::parse(model_text(beside))) == frequencies(beside));
  json older = with(olmo, {{"rope_theta", 1e4}, {"rope_scaling", inside}});
  CHECK(frequencies(older) == whole);
  const json llama = with(small("llama"), {{"rope_scaling", inside}});
  CHECK(frequencies(llama) == frequencies(beside));
}

TEST_CASE("what matters in training alone is told apart", "[models]") {
  const json mixtral =
      with(small("mixtral"), {{"router_jitter_noise", 0.1}, {"num_local_experts", 4}});
  CHECK(read(mixtral).not_trained == std::vector<std::string>{"router_jitter_noise = 0.1"});
  CHECK(read(with(small("llama"), {{"resid_pdrop", 0}, {"embd_pdrop", 0.0}})).not_trained.empty());
}
