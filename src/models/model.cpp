// What attention sees of a batch, the families by name, and a model's config.json in and out.
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "compat/hf_folder.h"
#include "models/hf_keys.h"
#include "models/model.h"

namespace levanter::models {

NamedArray DecodingCache::append(NamedArray rows, NamedArray positions) {
  const Axes& axes = rows.axes();
  const auto axis = [&](AxisName name) { return Axis{name, axes.size_of(name)}; };
  // A head's keys lie one after the other: that is how attention reads them.
  const Type type{rows.dtype(),
                  {axis("batch"), axis("kv_head"), {"key_position", room}, axis("head_dim")}};
  const auto index = static_cast<int>(function.arguments.size());
  const std::string name = cat("cache ", index);
  const NamedArray now = scatter(function.argument(name, type), rows, "key_position", positions);
  function.result(name, now, index);
  return now;
}

int64_t LmBatch::window() const {
  return cache ? cache->window : tokens.axes().size_of("position");
}

NamedArray LmBatch::attend(Operand q, NamedArray k, NamedArray v, AttentionOptions options) const {
  if (cache) {
    options.positions = positions;
    const NamedArray keys = cache->append(k, positions);
    return levanter::attention(q, keys, cache->append(v, positions), options);
  }
  options.segment_ids = segment_ids;
  const NamedArray keys = rename(k, "position", "key_position");
  if (const Graph& graph = q.array.graph(); attention)
    attention->push_back({graph.path(graph.origin().path), attention_statistics(q, keys, options)});
  return levanter::attention(q, keys, rename(v, "position", "key_position"), options);
}

const ModelEntry& entry(std::string_view name) {
  for (const ModelEntry* candidate : entries())
    if (candidate->name == name) return *candidate;
  throw Error(ErrorKind::kInternal, cat("there is no model ", quote(name)));
}

HfModel read_hf_model(const std::string& folder) {
  compat::HfConfig hf(join_path(folder, "config.json"));
  std::string type;
  hf("model_type", type);
  std::string known;
  for (const ModelEntry* family : entries()) {
    known += cat(known.empty() ? "" : ", ", family->hf_type);
    if (type != family->hf_type) continue;
    take_hf_defaults(hf, type);
    // What a family says layer by layer takes as long as there are layers.
    for (const char* key : {"num_hidden_layers", "n_layer"})
      if (std::optional<int64_t> layers; hf.has(key))
        if (hf(key, layers); layers && (*layers < 1 || *layers > 10000))
          hf.refuse(key, "from 1 to 10000");
    if (compat::has_own_head(folder)) hf.assume("tie_word_embeddings", "false");
    HfModel model{family, {}, {}};
    model.config.reset(dynamic_cast<ModelConfig*>(family->make_config().release()));
    model.config->hf_keys(hf);
    hf("vocab_size", model.config->vocab_size.emplace());
    model.not_trained = take_harmless_keys(hf);
    hf.finish();
    return model;
  }
  hf.refuse("model_type", known);
}

std::string hf_config_text(const HfModel& model, const compat::HfTokenIds& ids, std::string dtype) {
  if (const std::string key = model.config->without_hf_form(); !key.empty())
    throw Error(ErrorKind::kConfig,
                cat("model.", key, " of model.type = ", quote(model.family->name),
                    " has no form in a Hugging Face folder"))
        .hint("such a model is kept by its checkpoints");
  compat::HfConfig hf;
  std::vector<std::string> architectures = {model.family->hf_architecture};
  std::string type = model.family->hf_type;
  hf("architectures", architectures);
  hf("model_type", type);
  hf("vocab_size", model.config->vocab_size.value());
  model.config->hf_keys(hf);
  write_token_ids(hf, ids);
  hf("torch_dtype", dtype);
  return hf.text();
}

}  // namespace levanter::models
