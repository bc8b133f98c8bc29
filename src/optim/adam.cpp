// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); decay by role.
#include <cmath>

#include "optim/adam_config.h"
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"correction1", "correction2"};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  return {like(param, "exp_avg"), like(param, "exp_avg_sq")};
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& adam = dynamic_cast<const AdamConfig&>(config);
  const auto t = static_cast<double>(step + 1);
  values[0] = 1 - std::pow(adam.beta1, t);
  values[1] = 1 - std::pow(adam.beta2, t);
}

std::vector<After> update(const OptimizerConfig& config, std::span<const nn::Param> params,
                          std::span<const Before> before, const StepScalars& step) {
  const auto& adam = dynamic_cast<const AdamConfig&>(config);
  const AdamwScalars common{step.lr, step.clip, step.own[0], step.own[1], step.proceed};
  std::vector<After> after;
  for (size_t i = 0; i < params.size(); ++i) {
    const double decay = decays(config, params[i].role) ? config.weight_decay : 0;
    const auto [p, m, v] =
        adamw(before[i].param, before[i].grad, before[i].state[0], before[i].state[1], common,
              {adam.beta1, adam.beta2, adam.epsilon, decay});
    after.push_back({p, {m, v}});
  }
  return after;
}

}  // namespace

extern const OptimizerEntry adam_entry;
const OptimizerEntry adam_entry = {
    .name = "adam",
    .summary = "AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019)",
    .make_config = config::make_choice<AdamConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update};

}  // namespace levanter::optim
