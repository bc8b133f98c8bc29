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

constexpr double kLowest = -1e30;  // no score is below it

/// Over the queries that are tokens and all their heads. tokens: 1 or 0, [batch, position].
void add_attention(Function& f, const models::AttentionMeasure& measure, NamedArray tokens) {
  const auto& [entropy, largest] = measure.statistics;
  const NamedArray counts = broadcast(tokens, entropy.axes());
  const NamedArray lowest = constant(f.graph, kLowest, entropy.dtype());
  f.result(cat("watch/attention_entropy/", measure.module),
           sum(entropy * counts, entropy.axes()) / sum(counts, entropy.axes()));
  f.result(cat("watch/attention_max_logit/", measure.module),
           reduce(Reduce::kMax, select(counts, largest, broadcast(lowest, largest.axes())),
                  largest.axes()));
}

}  // namespace

std::string sum_name(std::string_view name) { return cat("sum of ", name); }
std::string grad_name(std::string_view path) { return cat("grad of ", path); }
std::string state_name(std::string_view path, std::string_view state) {
  return cat(path, ".", state);
}
std::string square_name(std::string_view path) { return cat("squares of grad of ", path); }
std::string rows_name(std::string_view path) { return cat("rows of ", path); }
std::string watched_name(std::string_view path, StepWatch::Squares squares) {
  return cat("watched squares ", static_cast<int>(squares), " of ", path);
}

std::vector<Piece> whole_pieces(const std::vector<nn::Param>& params,
                                const optim::Assignment& optimizer) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < params.size(); ++i)
    if (params[i].trainable) pieces.push_back({i, 0, optimizer.rows(params[i])});
  return pieces;
}

nn::Param piece_of(nn::Param param, int64_t rows, const Piece& piece) {
  const int64_t count = piece.end - piece.begin;
  if (count == rows) return param;
  const AxisName row = optim::row_axis(param.type.axes)->name;
  param.type.axes = replace(param.type.axes, row, {{row, count}});
  LEV_CHECK(param.shape[0] % rows == 0, "a row of a parameter is no whole rows of its file");
  param.shape[0] = param.shape[0] / rows * count;
  return param;
}

Function trace_gradients(const ModelSpec& spec, const StepShape& s,
                         const models::Objective& objective, Accumulate mode,
                         const StepWatch& watch) {
  infer::Tracing t(mode == Accumulate::kFirst ? "gradients" : "gradients_added", spec, s);
  Function& f = t.function;
  std::vector<models::AttentionMeasure> attention;
  if (watch.attention) t.inputs.attention = &attention;
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
  std::erase_if(attention, [&](const auto& measure) { return !watch.covers(measure.module); });
  if (attention.empty()) return std::move(t.function);
  const NamedArray ids = cast(t.inputs("segment_ids"), s.real);  // below 0 in padding
  const NamedArray zero = broadcast(constant(f.graph, 0, s.real), ids.axes());
  const NamedArray tokens = map(Map::kLessEqual, zero, ids);
  for (const models::AttentionMeasure& measure : attention) add_attention(f, measure, tokens);
  return std::move(t.function);
}

std::vector<std::string> attention_modules(const ModelSpec& spec, const StepShape& s) {
  infer::Tracing t("attention", spec, s);
  std::vector<models::AttentionMeasure> attention;
  t.inputs.attention = &attention;
  t.model->hidden(models::batch_of(t.inputs));
  std::vector<std::string> modules;
  for (const models::AttentionMeasure& measure : attention) modules.push_back(measure.module);
  return modules;
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

/// A function of the update, being traced, whose arguments so far are all parameters, and of those
/// that the rank updates the rows and their gradients.
struct UpdateTracing {
  UpdateTracing(const char* name, const ModelSpec& spec, const StepShape& shape,
                const optim::Assignment& optimizer, const Pieces& own)
      : t(name, spec, shape), scope(t.function.graph, update_origin(t.function.graph), false) {
    for (const Piece& piece : own ? *own : whole_pieces(t.params, optimizer)) {
      const nn::Param& whole = t.params[piece.param];
      const int64_t rows = optimizer.rows(whole);
      row_axes.push_back(rows > 1 ? optim::row_axis(whole.type.axes) : std::nullopt);
      nn::Param& param = params.emplace_back(piece_of(whole, rows, piece));
      places.push_back(piece.param);
      if (piece.end - piece.begin < rows) {
        places.back() = t.function.arguments.size();
        param.value = t.function.argument(rows_name(param.path), param.type);
      }
      before.push_back({param.value, t.function.argument(grad_name(param.path), param.type), {}});
    }
  }
  /// Of an array of a piece: the sum of squares of each row.
  NamedArray row_squares(size_t piece, NamedArray x) const {
    return row_axes[piece] ? sum_squares(x, row_axes[piece]->name) : optim::square_sum(x);
  }
  infer::Tracing t;
  OriginScope scope;
  std::vector<nn::Param> params;              ///< of each piece, its rows
  std::vector<std::optional<Axis>> row_axes;  ///< that it may be cut along
  std::vector<size_t> places;                 ///< of the argument that is updated
  std::vector<optim::Before> before;
};

/// The arguments that an update has besides parameters, gradients and state, and what follows from
/// them alone.
struct Common {
  optim::Step step;
  NamedArray grad_norm;
};

Common trace_common(UpdateTracing& tracing, const StepShape& s, const optim::Assignment& optimizer,
                    bool limits, const Pieces& own) {
  Function& f = tracing.t.function;
  const Type scalar{s.real, {}};
  const NamedArray loss = f.argument("loss", scalar);
  Common common;
  optim::Step& step = common.step;
  step.lr = f.argument("lr", scalar);
  for (const std::string& name : optimizer.scalar_names())
    step.own.push_back(f.argument(name, scalar));
  std::vector<NamedArray> squares;
  if (!own) {
    for (size_t i = 0; i < tracing.before.size(); ++i)
      squares.push_back(optim::total(tracing.row_squares(i, tracing.before[i].grad)));
  } else {
    for (const nn::Param& param : trained(tracing.t.params)) {
      Type type = scalar;
      if (const int64_t rows = optimizer.rows(param); rows > 1) type.axes = {{"row", rows}};
      squares.push_back(optim::total(f.argument(square_name(param.path), type)));
    }
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

std::vector<StepWatch::Squares> StepWatch::squares(std::string_view path) const {
  std::vector<Squares> out;
  if (!any() || !covers(path)) return out;
  if (grad_norm) out.push_back(Squares::kGradient);
  if (param_norm || update_ratio) out.push_back(Squares::kParameter);
  if (update_ratio) out.push_back(Squares::kChange);
  return out;
}

Function trace_squares(const ModelSpec& spec, const StepShape& s,
                       const optim::Assignment& optimizer, const Pieces& own) {
  UpdateTracing tracing("squares", spec, s, optimizer, own);
  for (size_t i = 0; i < tracing.params.size(); ++i)
    tracing.t.function.result(square_name(tracing.params[i].path),
                              tracing.row_squares(i, tracing.before[i].grad));
  return std::move(tracing.t.function);
}

namespace {

void add_watched(UpdateTracing& tracing, const StepWatch& watch, size_t piece, NamedArray after) {
  const optim::Before& before = tracing.before[piece];
  const std::string& path = tracing.params[piece].path;
  for (const StepWatch::Squares squares : watch.squares(path)) {
    NamedArray of = before.grad;
    if (squares == StepWatch::Squares::kParameter) of = after;
    if (squares == StepWatch::Squares::kChange) of = after - before.param;
    tracing.t.function.result(watched_name(path, squares), tracing.row_squares(piece, of));
  }
}

}  // namespace

Function trace_update(const ModelSpec& spec, const StepShape& s, const optim::Assignment& optimizer,
                      bool limits, const Pieces& own, const StepWatch& watch) {
  UpdateTracing tracing("update", spec, s, optimizer, own);
  const std::vector<nn::Param>& params = tracing.params;
  std::vector<optim::Before>& before = tracing.before;
  Function& f = tracing.t.function;
  const int first_state = static_cast<int>(f.arguments.size());
  for (size_t i = 0; i < params.size(); ++i)
    for (const optim::StateArray& state : optimizer.state(params[i]))
      before[i].state.push_back(f.argument(state_name(params[i].path, state.name), state.type));
  const Common common = trace_common(tracing, s, optimizer, limits, own);

  std::vector<optim::After> after;
  for (size_t i = 0; i < params.size(); ++i)
    after.push_back(optimizer.update(params[i], before[i], common.step));
  for (size_t i = 0; i < params.size(); ++i) {
    const size_t place = tracing.places[i];
    f.result(f.arguments[place].name, after[i].param, static_cast<int>(place));
  }
  int state = first_state;
  for (const optim::After& a : after)
    for (const NamedArray& value : a.state) {
      f.result(f.arguments[static_cast<size_t>(state)].name, value, state);
      ++state;
    }
  f.result("grad_norm", common.grad_norm);
  f.result("proceed", common.step.proceed);
  for (size_t i = 0; i < params.size(); ++i) add_watched(tracing, watch, i, after[i].param);
  return std::move(f);
}

Function trace_refresh(const ModelSpec& spec, const StepShape& s,
                       const optim::Assignment& optimizer, optim::Refresh::By by, bool limits,
                       const Pieces& own) {
  UpdateTracing tracing("refresh", spec, s, optimizer, own);
  const std::vector<nn::Param>& params = tracing.params;
  std::vector<optim::Before>& before = tracing.before;
  Function& f = tracing.t.function;
  std::vector<int> first_state(params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    if (!optimizer.rule_of(params[i]).optimizer->refresh(by)) continue;
    first_state[i] = static_cast<int>(f.arguments.size());
    for (const optim::StateArray& state : optimizer.state(params[i]))
      before[i].state.push_back(f.argument(state_name(params[i].path, state.name), state.type));
  }
  Common common = trace_common(tracing, s, optimizer, limits, own);
  common.step.inverse_tokens = f.argument(std::string(models::kInverseTokens), Type{s.real, {}});
  for (size_t i = 0; i < params.size(); ++i) {
    int at = first_state[i];
    for (const NamedArray& value : optimizer.refresh(by, params[i], before[i], common.step)) {
      f.result(f.arguments[static_cast<size_t>(at)].name, value, at);
      ++at;
    }
  }
  return std::move(f);
}

}  // namespace levanter::train
