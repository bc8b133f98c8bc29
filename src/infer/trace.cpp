// Traces a model's functions for evaluation and decoding, and counts what a token costs.
#include "infer/trace.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "nn/adapter.h"

namespace levanter::infer {

Axis batch_axis(const StepShape& s) { return {"batch", s.batch}; }
Axis position_axis(const StepShape& s) { return {"position", s.position}; }
Type token_type(const StepShape& s) { return {DType::i32, {batch_axis(s), position_axis(s)}}; }

Tracing::Tracing(std::string name, const ModelSpec& spec, const StepShape& s)
    : function(std::move(name), Graph(s.real, s.compute.value_or(s.real))),
      adapted{spec.adapter, spec.frozen},
      model(spec.family.build(nn::Scope(function, params, spec.adapter ? &adapted : nullptr),
                              spec.config, s.vocab_size)),
      inputs(function, batch_axis(s), position_axis(s), s.segments) {
  if (spec.adapter && spec.adapter->is_chosen_by_row())
    adapted.of_row = function.argument("adapter", {DType::i32, {batch_axis(s)}});
  if (!spec.groups) return;
  for (nn::Param& param : params) {
    const ParameterGroup* group = spec.groups->of(param.path);
    if (group && group->frozen) param.trainable = false;
  }
}

NamedArray logits_of(const models::LanguageModel& model, NamedArray h) {
  const NamedArray head = pack(model.head());
  Axes axes = without(h.axes(), "embed");
  axes.push_back({"vocab", head.axes().size_of("vocab")});
  const NamedArray logits = dot(h, head, axes);
  const double cap = model.logit_soft_cap();
  return cap > 0 ? tanh(logits / cap) * cap : logits;
}

Function trace_evaluation(const ModelSpec& spec, const StepShape& s,
                          const models::Objective& objective) {
  Tracing t("evaluation", spec, s);
  t.function.result("token_loss", objective.token_losses(*t.model, t.inputs));
  return std::move(t.function);
}

Function trace_next_logits(const ModelSpec& spec, const StepShape& s) {
  Tracing t("next_logits", spec, s);
  Function& f = t.function;
  const models::LmBatch batch = models::batch_of(t.inputs);
  const NamedArray last = f.argument("last", {DType::i32, {batch_axis(s)}});
  const NamedArray h = gather(t.model->hidden(batch), "position", last);
  f.result("logits", logits_of(*t.model, h));
  return std::move(t.function);
}

Function trace_decode(const ModelSpec& spec, const StepShape& s, int64_t room) {
  Tracing t("decode", spec, s);
  Function& f = t.function;
  models::DecodingCache cache{f, room, spec.config.max_seq_len};
  models::LmBatch batch;
  batch.tokens = t.inputs("tokens");
  batch.positions = t.inputs("positions");
  const NamedArray last = f.argument("last", {DType::i32, {batch_axis(s)}});
  batch.cache = &cache;
  const NamedArray h = gather(t.model->hidden(batch), "position", last);
  f.result("logits", logits_of(*t.model, h));
  return std::move(t.function);
}

namespace {

/// Adds a result that takes the place of a parameter.
void replace(Tracing& t, const std::string& path, NamedArray value) {
  const auto found = std::find_if(t.params.begin(), t.params.end(),
                                  [&](const nn::Param& param) { return param.path == path; });
  LEV_CHECK(found != t.params.end(), cat("there is no parameter ", path));
  t.function.result(path, value, static_cast<int>(found - t.params.begin()));
}

}  // namespace

Function trace_merge(const ModelSpec& spec, const StepShape& s) {
  Tracing t("merge", spec, s);
  for (const nn::Adapted::Site& site : t.adapted.sites) {
    if (!site.adaptation) continue;
    const std::vector<NamedArray> merged = site.adaptation->merged();
    for (size_t i = 0; i < merged.size(); ++i)
      replace(t, cat(site.modules[i], ".weight"), merged[i]);
  }
  return std::move(t.function);
}

Function trace_beginnings(const ModelSpec& spec, const StepShape& s,
                          const std::set<std::string>& elsewhere) {
  Tracing t("beginnings", spec, s);
  for (const nn::Adapted::Site& site : t.adapted.sites)
    if (site.adaptation)
      for (const auto& [path, value] : site.adaptation->beginnings())
        if (!elsewhere.contains(path)) replace(t, path, value);
  return std::move(t.function);
}

std::vector<nn::Param> trace_params(const ModelSpec& spec, const StepShape& s) {
  return Tracing("parameters", spec, s).params;
}

int64_t multiplied_parameters(const std::vector<nn::Param>& params, double expert_share) {
  // A table that is only looked up is an embedding, unless it is also the (tied) head: then the
  // model has no parameter of its own over vocab besides it.
  bool own_head = false;
  for (const nn::Param& p : params)
    own_head |= p.role == nn::Role::kWeight && p.type.axes.contains("vocab");
  int64_t total = 0, experts = 0;
  for (const nn::Param& p : params) {
    if (p.role == nn::Role::kScale) continue;
    const bool tied_head = p.type.axes.contains("vocab") && !own_head;
    if (p.role == nn::Role::kExpert)
      experts += p.type.elements();
    else if (p.role != nn::Role::kEmbedding || tied_head)
      total += p.type.elements();
  }
  return total + std::llround(static_cast<double>(experts) * expert_share);
}

double flops_per_token(const ModelSpec& spec, const std::vector<nn::Param>& params,
                       int64_t position) {
  const double share = spec.config.expert_share();
  std::vector<nn::Param> trained;
  std::copy_if(params.begin(), params.end(), std::back_inserter(trained),
               [](const nn::Param& param) { return param.trainable; });
  const auto all = static_cast<double>(multiplied_parameters(params, share));
  return 4.0 * all + 2.0 * static_cast<double>(multiplied_parameters(trained, share)) +
         12.0 * static_cast<double>(spec.family.attention_width(spec.config)) *
             static_cast<double>(position);
}

}  // namespace levanter::infer
