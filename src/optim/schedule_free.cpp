// Schedule-Free AdamW (Defazio et al. 2024, arXiv:2405.15682): gradients at a point between the
// iterate z and its running mean x, which is the model.
#include <cmath>

#include "base/strings.h"
#include "config/problems.h"
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"correction2", "power_of_step"};

struct ScheduleFreeConfig final : OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double r = 0;
  double weight_lr_power = 2;

  ScheduleFreeConfig() {
    learning_rate = 2.5e-3;
    decay = 0;  // the point of it
  }

  void validate(config::Problems& p) const override {
    OptimizerConfig::validate(p);
    if (ema)
      p.add("ema", cat(p.name("ema"), " would be a mean beside the one that is the model"))
          .hint("remove it: evaluations and exports take the optimizer's own");
  }

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "share of the mean in the point where gradients are taken").above(0).below(1);
    f("beta2", beta2, "decay of the running mean of the gradient's square").at_least(0).below(1);
    f("epsilon", epsilon, "added to the root of the running mean of the square").above(0);
    f("r", r, "a step counts in the mean by its number to this power").at_least(0);
    f("weight_lr_power", weight_lr_power, "and by the largest learning rate so far to this power")
        .at_least(0);
  }
};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  StateArray z = like(param, "z"), x = like(param, kAverage);
  z.begin = x.begin = StateArray::Begin::kParameter;
  x.average = StateArray::Average::kInstead;
  return {z, x, like(param, "exp_avg_sq"), scalar_state(param, "lr_max"),
          scalar_state(param, "weight_sum")};
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& c = dynamic_cast<const ScheduleFreeConfig&>(config);
  const auto t = static_cast<double>(step + 1);
  values[0] = 1 - std::pow(c.beta2, t);
  values[1] = std::pow(t, c.r);
}

After update(const OptimizerConfig& config, const nn::Param&, const Before& before,
             const Step& step) {
  const auto& c = dynamic_cast<const ScheduleFreeConfig&>(config);
  const NamedArray g = before.grad * step.clip, z = before.state[0], x = before.state[1];
  const NamedArray v = mix(before.state[2], g * g, 1 - c.beta2);
  const NamedArray lr_max = map(Map::kMax, before.state[3], step.lr);
  const NamedArray power = constant(g.graph(), c.weight_lr_power, g.dtype());
  const NamedArray weight = step.own[1] * map(Map::kPow, lr_max, power);
  const NamedArray weight_sum = before.state[4] + weight;
  const NamedArray one = constant(g.graph(), 1, g.dtype());
  const NamedArray share = weight / select(weight_sum, weight_sum, one);  // 0 of 0 is 0

  // From z, with the decay at the point where the gradient was taken.
  const NamedArray u = g / (sqrt(v / step.own[0]) + c.epsilon);
  const NamedArray next_z = z - step.lr * moving(config, before, step, u);
  const NamedArray next_x = x + (next_z - x) * share;
  return settle(before, step, mix(next_z, next_x, c.beta1),
                {next_z, next_x, v, lr_max, weight_sum});
}

}  // namespace

extern const OptimizerEntry schedule_free_entry;
const OptimizerEntry schedule_free_entry = {
    .name = "schedule_free",
    .summary =
        "Schedule-Free AdamW: no decay of the rate, a mean that is the model (Defazio et al. "
        "2024)",
    .make_config = config::make_choice<ScheduleFreeConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update,
    .averages = true,
    .elementwise = always};

}  // namespace levanter::optim
