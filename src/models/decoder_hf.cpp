// The keys of config.json that the families after Llama share.
#include "base/error.h"
#include "base/strings.h"
#include "models/decoder.h"

namespace levanter::models {
namespace {

std::string activation_of(compat::HfConfig& hf) {
  const std::string name = hf.text_or("hidden_act", "silu");
  if (name == "silu" || name == "swish") return "silu";
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return "gelu_new";
  if (name == "gelu" || name == "relu") return name;
  hf.refuse("hidden_act", "silu, gelu_pytorch_tanh, gelu, relu");
}

/// Reads "rope_parameters", or "rope_theta" and "rope_scaling" as older files have it, through the
/// fields of the rotary type that it names.
void read_rope(compat::HfConfig& hf, DecoderConfig& c) {
  double theta = hf.number_or("rope_theta", 10000);
  auto rope = hf.object("rope_parameters");
  if (!rope) rope = hf.object("rope_scaling");
  hf.ignore({"rope_scaling"});
  if (!rope) {
    c.rope->theta = theta;
    return;
  }
  theta = rope->number_or("rope_theta", theta);
  const std::string type = rope->text_or("rope_type", rope->text_or("type", "default"));
  rope->ignore({"type"});
  std::string known;
  for (const config::ChoiceEntry& entry : RopeConfig::choices()) {
    known += cat(known.empty() ? "" : ", ", entry.name);
    if (type != entry.name) continue;
    c.rope.type = entry.name;
    c.rope.value = entry.make();
  }
  if (c.rope.type != type) rope->refuse("rope_type", known);
  c.rope->theta = theta;
  config::Fields fields;
  c.rope->fields(fields);
  for (const config::Field& field : fields.list()) {
    const std::string_view key = field.key;
    if (key == "theta") continue;
    if (field.type->kind == config::Kind::kInteger)  // the window that the model was trained with
      *static_cast<int64_t*>(field.value) = rope->optional_integer(key).value_or(c.max_seq_len);
    else if (field.type->kind == config::Kind::kNumber)
      *static_cast<double*>(field.value) = rope->number_or(key, *static_cast<double*>(field.value));
    else if (const double value = rope->number_or(key, 0); value != 0)
      *static_cast<std::optional<double>*>(field.value) = value;
  }
  rope->finish();
}

}  // namespace

void read_decoder_config(compat::HfConfig& hf, DecoderConfig& c) {
  c.max_seq_len = hf.integer("max_position_embeddings");
  c.hidden_dim = hf.integer("hidden_size");
  c.intermediate_dim = hf.integer("intermediate_size");
  c.num_layers = hf.integer("num_hidden_layers");
  c.num_heads = hf.integer("num_attention_heads");
  c.num_kv_heads = hf.optional_integer("num_key_value_heads");
  c.head_dim = hf.optional_integer("head_dim");
  c.activation_function = activation_of(hf);
  c.layer_norm_epsilon = hf.number_or("rms_norm_eps", 1e-6);
  c.tie_word_embeddings = hf.flag_or("tie_word_embeddings", false);
  c.initializer_range = hf.number_or("initializer_range", 0.02);
  hf.require("attention_dropout", 0.0);
  read_rope(hf, c);
}

}  // namespace levanter::models
