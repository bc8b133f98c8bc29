// The frozen model under an adapter: where its parameters are read, and how they are known again.
#include "train/adapter/base.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "checkpoint/checkpoint.h"
#include "train/hf/start.h"

namespace levanter::train {

using nlohmann::json;

std::string text_of(const BaseRecord& base) {
  return json{{"kind", config::word_of(base.kind)},
              {"place", base.place},
              {"params_hash", base.params_hash}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<BaseRecord> base_of(const std::string& extra_json) {
  const json extra = json::parse(extra_json, nullptr, false);
  if (!extra.is_object() || !extra.contains("base")) return std::nullopt;
  const json& base = extra["base"];
  BaseRecord record;
  for (const auto& word : words_of(StartKind()))
    if (base.value("kind", "") == word.text) record.kind = word.value;
  record.place = base.value("place", "");
  record.params_hash = base.value("params_hash", "");
  return record;
}

BaseRecord BaseModel::record() const {
  if (checkpoint) return {StartKind::kCheckpoint, checkpoint->folder(), {}};
  if (hf) return {StartKind::kHf, hf->folder(), {}};
  return {};
}

BaseModel open_base(StartKind kind, const std::string& place) {
  BaseModel base;
  if (kind == StartKind::kHf) base.hf = std::make_shared<const compat::HfWeights>(place);
  if (kind != StartKind::kCheckpoint) return base;
  base.checkpoint = std::make_shared<const Checkpoint>(*open_checkpoint(place).checkpoint);
  if (base_of(base.checkpoint->manifest().extra_json))
    throw Error(ErrorKind::kCheckpoint, "the checkpoint holds an adapter and no model under it")
        .at(base.checkpoint->folder())
        .hint("levanter export --merge makes a whole model of it, --adapter a folder for "
              "adapter.path");
  return base;
}

std::vector<Tensor> tensors_of(const std::vector<nn::Param>& params, std::span<const Tensor> all,
                               bool adapts) {
  std::set<std::string_view> wanted;
  for (const nn::Param& param : params)
    if (param.adapts == adapts) wanted.insert(param.path);
  std::vector<Tensor> tensors;
  std::copy_if(all.begin(), all.end(), std::back_inserter(tensors),
               [&](const Tensor& tensor) { return wanted.contains(tensor.path); });
  return tensors;
}

void load_base(const BaseModel& base, const infer::ModelSpec& spec, int64_t vocab_size,
               const std::vector<nn::Param>& params, std::span<const Tensor> all) {
  const std::vector<Tensor> own = tensors_of(params, all, false);
  if (base.hf) load_hf(*base.hf, spec, vocab_size, own);
  if (!base.checkpoint) return;
  for (Tensor target : own) {
    target.path = base.checkpoint->path_in_use(target.path);
    base.checkpoint->load(target);
  }
}

void require_same_base(const std::string& trained_on, const std::string& params_hash,
                       const std::string& adapter, const std::string& place) {
  if (trained_on.empty() || trained_on == params_hash) return;
  throw Error(ErrorKind::kCheckpoint,
              cat("the adapter was trained on another model: its base has params_hash ", trained_on,
                  ", and this one ", params_hash))
      .at(adapter)
      .hint(cat("the model is read from ", place.empty() ? "the run's seed" : place,
                "; name the one that the adapter was trained on"));
}

}  // namespace levanter::train
