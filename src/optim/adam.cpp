// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), and what others have changed of it.
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

/// Whether the fused op computes the update.
bool is_plain(const AdamConfig& adam) {
  return !adam.nesterov && !adam.adamc_weight_decay && !adam.cautious && !adam.update_rms_clipping;
}

/// The direction where it agrees with the gradient, divided by the share of elements that do, of
/// which there is one at least: u mask / max(mean(mask), 1e-3).
NamedArray cautious_part(NamedArray direction, NamedArray grad) {
  constexpr double kLeastShare = 1e-3;  // the authors' code
  const NamedArray zero = constant(grad.graph(), 0, grad.dtype());
  const NamedArray mask = map(Map::kLess, zero, direction * grad);
  const NamedArray share = mask.axes().empty() ? mask : mean(mask, mask.axes());
  return direction * mask / at_least(share, kLeastShare);
}

After update(const OptimizerConfig& config, const nn::Param&, const Before& before,
             const Step& step) {
  const auto& adam = dynamic_cast<const AdamConfig&>(config);
  if (is_plain(adam)) {
    const AdamwScalars common{step.lr, step.clip, step.own[0], step.own[1], step.proceed};
    const auto [p, m, v] = adamw(before.param, before.grad, before.state[0], before.state[1],
                                 common, {adam.beta1, adam.beta2, adam.epsilon, step.weight_decay});
    return {p, {m, v}};
  }
  const NamedArray g = before.grad * step.clip;
  const NamedArray m = mix(before.state[0], g, 1 - adam.beta1);
  const NamedArray v = mix(before.state[1], g * g, 1 - adam.beta2);
  NamedArray mean = m / step.own[0];
  if (adam.nesterov) {
    // Of the next step's correction, as in optax: 1 - beta1^(t + 1).
    const NamedArray next = step.own[0] * adam.beta1 + (1 - adam.beta1);
    mean = m * adam.beta1 / next + g * (1 - adam.beta1) / step.own[0];
  }
  NamedArray direction = mean / (sqrt(v / step.own[1]) + adam.epsilon);
  if (adam.cautious) direction = cautious_part(direction, g);
  if (!adam.adamc_weight_decay || step.weight_decay == 0)
    return descend(config, before, step, direction, {m, v});
  Step plain = step;
  plain.weight_decay = 0;
  const NamedArray share = step.peak_lr > 0 ? step.lr / step.peak_lr : step.lr;
  return descend(config, before, plain, direction + before.param * (share * step.weight_decay),
                 {m, v});
}

/// The cautious share is of all elements.
bool elementwise(const OptimizerConfig& config, const nn::Param&) {
  return !dynamic_cast<const AdamConfig&>(config).cautious;
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
    .update = update,
    .elementwise = elementwise};

}  // namespace levanter::optim
