// Traces a training step: gradients of a microbatch, and the update.
#include "train/engine/step.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "passes/passes.h"

namespace levanter::train {

namespace {

/// The loss, and one result a measure: those of one name added. What a microbatch has on average
/// counts by its share of what the global batch counts.
std::vector<std::pair<std::string, NamedArray>> report_of(
    NamedArray loss, const std::vector<models::Measure>& measures, NamedArray share) {
  std::vector<std::pair<std::string, NamedArray>> report = {{"loss", loss}};
  for (const models::Measure& m : measures) {
    const NamedArray value = m.is_part ? m.value : m.value * broadcast(share, m.value.axes());
    const auto named = std::find_if(report.begin(), report.end(),
                                    [&](const auto& one) { return one.first == m.name; });
    if (named == report.end())
      report.emplace_back(m.name, value);
    else
      named->second = named->second + value;
  }
  return report;
}

std::vector<nn::Param> owned_of(std::vector<nn::Param> params, const Owned& owned) {
  if (owned.empty()) return params;
  std::vector<nn::Param> out;
  for (size_t i = 0; i < params.size(); ++i)
    if (owned[i]) out.push_back(std::move(params[i]));
  return out;
}

}  // namespace

std::string sum_name(std::string_view name) { return cat("sum of ", name); }
std::string grad_name(std::string_view path) { return cat("grad of ", path); }
std::string state_name(std::string_view path, std::string_view state) {
  return cat(path, ".", state);
}
std::string square_name(std::string_view path) { return cat("squares of grad of ", path); }

Function trace_gradients(const ModelSpec& spec, const StepShape& s,
                         const models::Objective& objective, Accumulate mode) {
  infer::Tracing t(mode == Accumulate::kFirst ? "gradients" : "gradients_added", spec, s);
  Function& f = t.function;
  const auto [loss, measures] = objective.loss(*t.model, t.inputs);
  const bool has_means = std::any_of(measures.begin(), measures.end(),
                                     [](const models::Measure& m) { return !m.is_part; });
  const NamedArray share = has_means ? objective.share(t.inputs) : NamedArray();
  NamedArray total = loss;
  for (const models::Measure& m : measures)
    if (m.coefficient != 0) total = total + m.value * share * m.coefficient;
  const std::vector<nn::Param> params = trained(t.params);
  LEV_CHECK(!params.empty(), "no parameter is trained");
  std::vector<NamedArray> values;
  for (const nn::Param& param : params) values.push_back(param.value);
  std::vector<std::pair<std::string, NamedArray>> results;
  for (const NamedArray gradient : backprop(total, values))
    results.emplace_back(params[results.size()].path, gradient);
  Origin origin = f.graph.origin();
  origin.phase = Phase::kBackward;
  const OriginScope scope(f.graph, origin, false);
  for (auto& reported : report_of(loss, measures, share)) results.push_back(std::move(reported));
  for (const auto& [name, value] : results) {
    if (mode == Accumulate::kFirst) {
      f.result(name, value);
    } else {
      const NamedArray so_far = f.argument(sum_name(name), value.type());
      f.result(name, so_far + value, static_cast<int>(f.arguments.size()) - 1);
    }
  }
  return std::move(t.function);
}

std::vector<nn::Param> trained(const std::vector<nn::Param>& params) {
  std::vector<nn::Param> out;
  std::copy_if(params.begin(), params.end(), std::back_inserter(out),
               [](const nn::Param& param) { return param.trainable; });
  return out;
}

namespace {

Origin update_origin(const Graph& graph) {
  Origin origin = graph.origin();
  origin.phase = Phase::kUpdate;
  return origin;
}

/// A function of the update, being traced, whose arguments so far are all parameters and the
/// gradients of those that the rank updates.
struct UpdateTracing {
  UpdateTracing(const char* name, const ModelSpec& spec, const StepShape& shape, const Owned& owned)
      : t(name, spec, shape),
        scope(t.function.graph, update_origin(t.function.graph), false),
        params(owned_of(trained(t.params), owned)) {
    for (const nn::Param& param : params)
      before.push_back({param.value, t.function.argument(grad_name(param.path), param.type), {}});
  }
  infer::Tracing t;
  OriginScope scope;
  std::vector<nn::Param> params;
  std::vector<optim::Before> before;
};

/// The arguments that an update has besides parameters, gradients and state, and what follows from
/// them alone.
struct Common {
  optim::Step step;
  NamedArray grad_norm;
};

Common trace_common(infer::Tracing& t, const StepShape& s, const optim::Assignment& optimizer,
                    std::span<const optim::Before> before, bool limits, const Owned& owned) {
  Function& f = t.function;
  const Type scalar{s.real, {}};
  const NamedArray loss = f.argument("loss", scalar);
  Common common;
  optim::Step& step = common.step;
  step.lr = f.argument("lr", scalar);
  for (const std::string& name : optimizer.scalar_names())
    step.own.push_back(f.argument(name, scalar));
  std::vector<NamedArray> squares;
  if (owned.empty()) {
    for (const optim::Before& b : before) squares.push_back(optim::square_sum(b.grad));
  } else {
    for (const nn::Param& param : trained(t.params))
      squares.push_back(f.argument(square_name(param.path), scalar));
  }
  common.grad_norm = optim::global_norm(squares);
  step.proceed = map(Map::kAnd, map(Map::kIsFinite, loss), map(Map::kIsFinite, common.grad_norm));
  if (limits) {
    const auto within = [&](const NamedArray& value, const char* limit) {
      step.proceed =
          map(Map::kAnd, step.proceed, map(Map::kLessEqual, value, f.argument(limit, scalar)));
    };
    within(loss, "loss_limit");
    within(common.grad_norm, "norm_limit");
  }
  const std::optional<double>& most = optimizer.config().max_grad_norm;
  step.clip = most ? optim::clip_factor(common.grad_norm, *most) : constant(f.graph, 1, s.real);
  return common;
}

}  // namespace

std::vector<std::string> UpdateWatch::metrics(std::string_view path) const {
  std::vector<std::string> names;
  if (!any() || !covers(path)) return names;
  if (grad_norm) names.push_back(cat("watch/grad_norm/", path));
  if (param_norm) names.push_back(cat("watch/param_norm/", path));
  if (update_ratio) names.push_back(cat("watch/update_ratio/", path));
  return names;
}

Function trace_squares(const ModelSpec& spec, const StepShape& s, const Owned& owned) {
  UpdateTracing tracing("squares", spec, s, owned);
  for (size_t i = 0; i < tracing.params.size(); ++i)
    tracing.t.function.result(square_name(tracing.params[i].path),
                              optim::square_sum(tracing.before[i].grad));
  return std::move(tracing.t.function);
}

namespace {

/// The results that UpdateWatch::metrics names.
void add_watched(Function& f, const UpdateWatch& watch, const std::string& path,
                 const optim::Before& before, NamedArray after) {
  const auto norm = [](NamedArray x) { return map(Map::kSqrt, optim::square_sum(x)); };
  std::vector<NamedArray> values;
  if (watch.grad_norm) values.push_back(norm(before.grad));
  if (watch.param_norm) values.push_back(norm(after));
  if (watch.update_ratio) values.push_back(norm(after - before.param) / norm(after));
  const std::vector<std::string> names = watch.metrics(path);
  for (size_t i = 0; i < names.size(); ++i) f.result(names[i], values[i]);
}

}  // namespace

Function trace_update(const ModelSpec& spec, const StepShape& s, const optim::Assignment& optimizer,
                      bool limits, const Owned& owned, const UpdateWatch& watch) {
  UpdateTracing tracing("update", spec, s, owned);
  auto& [t, scope, params, before] = tracing;
  Function& f = t.function;
  const int first_state = static_cast<int>(f.arguments.size());
  for (size_t i = 0; i < params.size(); ++i)
    for (const optim::StateArray& state : optimizer.state(params[i]))
      before[i].state.push_back(f.argument(state_name(params[i].path, state.name), state.type));
  const Common common = trace_common(t, s, optimizer, before, limits, owned);

  std::vector<optim::After> after;
  for (size_t i = 0; i < params.size(); ++i)
    after.push_back(optimizer.update(params[i], before[i], common.step));
  for (size_t i = 0, at = 0; i < t.params.size() && at < params.size(); ++i) {
    if (t.params[i].path != params[at].path) continue;
    f.result(t.params[i].path, after[at++].param, static_cast<int>(i));
  }
  int state = first_state;
  for (const optim::After& a : after)
    for (const NamedArray& value : a.state) {
      f.result(f.arguments[static_cast<size_t>(state)].name, value, state);
      ++state;
    }
  f.result("grad_norm", common.grad_norm);
  f.result("proceed", common.step.proceed);
  for (size_t i = 0; i < params.size(); ++i)
    if (watch.any() && watch.covers(params[i].path))
      add_watched(f, watch, params[i].path, before[i], after[i].param);
  return std::move(t.function);
}

Function trace_refresh(const ModelSpec& spec, const StepShape& s,
                       const optim::Assignment& optimizer, optim::Refresh::By by, bool limits,
                       const Owned& owned) {
  UpdateTracing tracing("refresh", spec, s, owned);
  auto& [t, scope, params, before] = tracing;
  Function& f = t.function;
  std::vector<int> first_state(params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    if (!optimizer.rule_of(params[i]).optimizer->refresh(by)) continue;
    first_state[i] = static_cast<int>(f.arguments.size());
    for (const optim::StateArray& state : optimizer.state(params[i]))
      before[i].state.push_back(f.argument(state_name(params[i].path, state.name), state.type));
  }
  Common common = trace_common(t, s, optimizer, before, limits, owned);
  common.step.inverse_tokens = f.argument(std::string(models::kInverseTokens), Type{s.real, {}});
  for (size_t i = 0; i < params.size(); ++i) {
    int at = first_state[i];
    for (const NamedArray& value : optimizer.refresh(by, params[i], before[i], common.step)) {
      f.result(f.arguments[static_cast<size_t>(at)].name, value, at);
      ++at;
    }
  }
  return std::move(t.function);
}

}  // namespace levanter::train
