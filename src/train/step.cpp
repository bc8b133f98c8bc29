#include "train/step.h"

#include <memory>

#include "passes/passes.h"

namespace levanter::train {

namespace {

Axis batch_axis(const StepShape& s) { return {"batch", s.batch}; }
Axis position_axis(const StepShape& s) { return {"position", s.position}; }
Type ids(const StepShape& s) { return {DType::i32, {batch_axis(s), position_axis(s)}}; }

/// A function with the model's parameters declared as its first arguments.
struct Tracing {
  Tracing(std::string name, const ModelSpec& spec, const StepShape& s)
      : function(std::move(name), s.real),
        model(spec.family.build(nn::Scope(function, params), spec.config, s.vocab_size)) {}
  Function function;
  std::vector<nn::Param> params;
  std::unique_ptr<models::LanguageModel> model;
};

}  // namespace

TracedFunction trace_gradients(const ModelSpec& spec, const StepShape& s, Accumulate mode) {
  Tracing t(mode == Accumulate::kFirst ? "gradients" : "gradients_added", spec, s);
  Function& f = t.function;
  models::LmBatch batch;
  batch.tokens = f.argument("tokens", ids(s));
  const NamedArray targets = f.argument("targets", ids(s));
  batch.segment_ids = f.argument("segment_ids", ids(s));
  batch.positions = f.argument("positions", ids(s));
  const NamedArray weight = f.argument("loss_weight", {s.real, ids(s).axes});
  batch.dropout_keys = f.argument("dropout_keys", {DType::u32, {batch_axis(s), key_word()}});
  const NamedArray inverse_tokens = f.argument("inverse_tokens", {s.real, {}});

  const NamedArray h = t.model->hidden(batch);
  NamedArray loss = linear_xent(h, t.model->head(), targets, weight * inverse_tokens).loss;
  std::vector<NamedArray> values;
  for (const nn::Param& param : t.params) values.push_back(param.value);
  std::vector<NamedArray> grads = backprop(loss, values);
  grads.push_back(loss);
  for (size_t i = 0; i < grads.size(); ++i) {
    const std::string name = i < values.size() ? t.params[i].path : "loss";
    if (mode == Accumulate::kFirst) {
      f.result(name, grads[i]);
    } else {
      const NamedArray so_far = f.argument(name, grads[i].type());
      f.result(name, so_far + grads[i], static_cast<int>(f.arguments.size()) - 1);
    }
  }
  return {std::move(t.function), std::move(t.params)};
}

Function trace_update(const ModelSpec& spec, const StepShape& s,
                      const optim::OptimizerEntry& optimizer, const OptimizerConfig& config) {
  Tracing t("update", spec, s);
  Function& f = t.function;
  Origin origin = f.graph.origin();
  origin.phase = Phase::kUpdate;
  const OriginScope scope(f.graph, origin, false);
  std::vector<optim::Before> before;
  std::vector<NamedArray> grads;
  for (const nn::Param& param : t.params) {
    grads.push_back(f.argument("grad of " + param.path, param.type));
    before.push_back({param.value, grads.back(), {}});
  }
  const int first_state = static_cast<int>(f.arguments.size());
  for (size_t i = 0; i < t.params.size(); ++i)
    for (const std::string_view state : optimizer.state_names)
      before[i].state.push_back(
          f.argument(t.params[i].path + "." + std::string(state), t.params[i].type));
  const Type scalar{s.real, {}};
  const NamedArray loss = f.argument("loss", scalar);
  optim::StepScalars step;
  step.lr = f.argument("lr", scalar);
  for (const std::string_view name : optimizer.scalar_names)
    step.own.push_back(f.argument(std::string(name), scalar));
  step.grad_norm = optim::global_norm(grads);
  step.proceed = map(Map::kAnd, map(Map::kIsFinite, loss), map(Map::kIsFinite, step.grad_norm));

  const std::vector<optim::After> after = optimizer.update(config, t.params, before, step);
  for (size_t i = 0; i < after.size(); ++i)
    f.result(t.params[i].path, after[i].param, static_cast<int>(i));
  int state = first_state;
  for (const optim::After& a : after)
    for (const NamedArray& value : a.state) {
      f.result(f.arguments[static_cast<size_t>(state)].name, value, state);
      ++state;
    }
  f.result("grad_norm", step.grad_norm);
  f.result("proceed", step.proceed);
  return std::move(t.function);
}

TracedFunction trace_evaluation(const ModelSpec& spec, const StepShape& s) {
  Tracing t("evaluation", spec, s);
  Function& f = t.function;
  models::LmBatch batch;
  batch.tokens = f.argument("tokens", ids(s));
  const NamedArray targets = f.argument("targets", ids(s));
  batch.segment_ids = f.argument("segment_ids", ids(s));
  batch.positions = f.argument("positions", ids(s));
  const NamedArray h = t.model->hidden(batch);
  const NamedArray scale =
      broadcast(constant(f.graph, 0, s.real), ids(s).axes);  // only token losses are asked for
  f.result("token_loss", linear_xent(h, t.model->head(), targets, scale).token_loss);
  return {std::move(t.function), std::move(t.params)};
}

TracedFunction trace_next_logits(const ModelSpec& spec, const StepShape& s) {
  Tracing t("next_logits", spec, s);
  Function& f = t.function;
  models::LmBatch batch;
  batch.tokens = f.argument("tokens", ids(s));
  batch.segment_ids = f.argument("segment_ids", ids(s));
  batch.positions = f.argument("positions", ids(s));
  const NamedArray last = f.argument("last", {DType::i32, {batch_axis(s)}});
  const NamedArray h = gather(t.model->hidden(batch), "position", last);
  f.result("logits", dot(h, t.model->head(), {batch_axis(s), {"vocab", s.vocab_size}}));
  return {std::move(t.function), std::move(t.params)};
}

std::vector<nn::Param> trace_params(const ModelSpec& spec, const StepShape& s) {
  return Tracing("parameters", spec, s).params;
}

int64_t multiplied_parameters(const std::vector<nn::Param>& params) {
  // A table that is only looked up is an embedding, unless it is also the (tied) head: then the
  // model has no parameter of its own over vocab besides it.
  bool own_head = false;
  for (const nn::Param& p : params)
    own_head |= p.role == nn::Role::kWeight && p.type.axes.contains("vocab");
  int64_t total = 0;
  for (const nn::Param& p : params) {
    const bool tied_head = p.type.axes.contains("vocab") && !own_head;
    if (p.role != nn::Role::kEmbedding || tied_head) total += p.type.elements();
  }
  return total;
}

double flops_per_token(const ModelSpec& spec, const std::vector<nn::Param>& params,
                       int64_t position) {
  return 6.0 * static_cast<double>(multiplied_parameters(params)) +
         12.0 * static_cast<double>(spec.family.attention_width(spec.config)) *
             static_cast<double>(position);
}

}  // namespace levanter::train
