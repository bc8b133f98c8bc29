// The optimizers of a run: which one each parameter has, and what its group changes.
#include "optim/assignment.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace levanter::optim {

namespace {

/// A group's optimizer: at its defaults but for the learning rate and update_rms_clipping, which
/// are the run's. What else all optimizers have is read from the run's own.
std::unique_ptr<OptimizerConfig> config_of(const OptimizerEntry& optimizer,
                                           const OptimizerConfig& run) {
  std::unique_ptr<config::Choosable> made = optimizer.make_config();
  std::unique_ptr<OptimizerConfig> config(static_cast<OptimizerConfig*>(made.release()));
  config->learning_rate = run.learning_rate;
  config->update_rms_clipping = run.update_rms_clipping;
  if (optimizer.follow) optimizer.follow(*config);
  return config;
}

}  // namespace

Assignment::Assignment(const OptimizerEntry& optimizer, const OptimizerConfig& config)
    : config_(config), groups_(config.groups) {
  used_.push_back({&optimizer, &config, nullptr});
  for (const ParameterGroup& group : config.groups) {
    if (!group.type) continue;
    const auto known = std::any_of(used_.begin(), used_.end(),
                                   [&](const Used& u) { return u.optimizer->name == *group.type; });
    if (known) continue;
    const OptimizerEntry& other = entry(*group.type);
    auto own = config_of(other, config);
    used_.push_back({&other, own.get(), nullptr});
    used_.back().own = std::move(own);
  }
}

const Assignment::Used& Assignment::used(std::string_view name) const {
  return *std::find_if(used_.begin(), used_.end(),
                       [&](const Used& u) { return u.optimizer->name == name; });
}

Rule Assignment::rule_of(const nn::Param& param) const {
  const ParameterGroup* group = groups_.of(param.path);
  const Used& of = group && group->type ? used(*group->type) : used_.front();
  Rule rule{of.optimizer, of.config};
  if (decays(config_, param.role)) rule.weight_decay = config_.weight_decay;
  if (!group) return rule;
  rule.lr_scale = group->lr_scale;
  if (group->weight_decay) rule.weight_decay = *group->weight_decay;
  return rule;
}

int64_t Assignment::rows(const nn::Param& param) const {
  const Rule rule = rule_of(param);
  const bool apart = rule.optimizer->elementwise && !config_.update_rms_clipping &&
                     rule.optimizer->elementwise(*rule.config, param);
  if (!apart || param.shape.size() < 2 || param.shape[0] < 2) return 1;
  return row_axis(param.type.axes)->size;
}

std::vector<StateArray> Assignment::state(const nn::Param& param) const {
  const Rule rule = rule_of(param);
  std::vector<StateArray> arrays = rule.optimizer->state(*rule.config, param);
  if (config_.ema) {
    arrays.push_back(like(param, kEma));
    arrays.back().begin = StateArray::Begin::kParameter;
    arrays.back().average = StateArray::Average::kBeside;
  }
  return arrays;
}

bool Assignment::keeps(StateArray::Average average, std::span<const nn::Param> params) const {
  return std::any_of(params.begin(), params.end(), [&](const nn::Param& param) {
    if (!param.trainable) return false;
    const std::vector<StateArray> arrays = state(param);
    return std::any_of(arrays.begin(), arrays.end(),
                       [&](const StateArray& array) { return array.average == average; });
  });
}

std::vector<std::string> Assignment::scalar_names() const {
  std::vector<std::string> names;
  for (const Used& of : used_)
    for (const std::string_view name : of.optimizer->scalar_names)
      names.push_back(cat(of.optimizer->name, ".", name));
  return names;
}

void Assignment::fill_scalars(int64_t step, std::span<double> values) const {
  for (const Used& of : used_) {
    const size_t count = of.optimizer->scalar_names.size();
    if (count > 0) of.optimizer->scalars(*of.config, step, values.first(count));
    values = values.subspan(count);
  }
}

bool Assignment::refreshes(Refresh::By by) const {
  return std::any_of(used_.begin(), used_.end(),
                     [&](const Used& of) { return of.optimizer->refresh(by) != nullptr; });
}

bool Assignment::refreshes(Refresh::By by, int64_t step) const {
  return std::any_of(used_.begin(), used_.end(), [&](const Used& of) {
    const Refresh* refresh = of.optimizer->refresh(by);
    return refresh && refresh->due(*of.config, step);
  });
}

Step Assignment::step_of(const Rule& rule, const Step& common) const {
  Step step = common;
  step.own.clear();
  size_t first = 0;
  for (const Used& of : used_) {
    const size_t count = of.optimizer->scalar_names.size();
    for (size_t i = first; of.optimizer == rule.optimizer && i < first + count; ++i)
      step.own.push_back(common.own[i]);
    first += count;
  }
  if (rule.lr_scale != 1) step.lr = step.lr * rule.lr_scale;
  step.peak_lr = config_.learning_rate * rule.lr_scale;
  step.weight_decay = rule.weight_decay;
  return step;
}

std::vector<NamedArray> Assignment::refresh(Refresh::By by, const nn::Param& param,
                                            const Before& before, const Step& common) const {
  const Rule rule = rule_of(param);
  const Refresh* refresh = rule.optimizer->refresh(by);
  if (!refresh) return {};
  std::vector<NamedArray> state =
      refresh->state(*rule.config, param, before, step_of(rule, common));
  for (size_t i = 0; i < state.size(); ++i)
    state[i] = select(common.proceed, state[i], before.state[i]);
  if (!state.empty() && config_.ema) state.push_back(before.state.back());
  return state;
}

After Assignment::update(const nn::Param& param, const Before& before, const Step& common) const {
  const Rule rule = rule_of(param);
  After after = rule.optimizer->update(*rule.config, param, before, step_of(rule, common));
  if (config_.ema) {
    const NamedArray average = before.state.back();
    after.state.push_back(
        select(common.proceed, mix(average, after.param, 1 - config_.ema->decay), average));
  }
  return after;
}

}  // namespace levanter::optim
