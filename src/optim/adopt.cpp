// ADOPT (Taniguchi et al. 2024, arXiv:2411.02853): Adam whose gradient is normalised by the second
// moment of the steps before, and then averaged.
#include <cmath>

#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"bound"};

struct AdoptConfig final : OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-6;
  double clip_exponent = 0.25;

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the running mean of the normalised gradient").at_least(0).below(1);
    f("beta2", beta2, "decay of the running mean of the gradient's square").at_least(0).below(1);
    f("epsilon", epsilon, "the least that a gradient is divided by").above(0);
    f("clip_exponent", clip_exponent,
      "an element of the normalised gradient is at most the step's number to this power")
        .at_least(0);
  }
};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  return {like(param, "exp_avg"), like(param, "exp_avg_sq"), scalar_state(param, "updates")};
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& adopt = dynamic_cast<const AdoptConfig&>(config);
  // Steps are counted from 0, and the first only begins the second moment.
  values[0] = std::pow(static_cast<double>(step), adopt.clip_exponent);
}

After update(const OptimizerConfig& config, const nn::Param&, const Before& before,
             const Step& step) {
  const auto& adopt = dynamic_cast<const AdoptConfig&>(config);
  const NamedArray g = before.grad * step.clip;
  const NamedArray m = before.state[0], v = before.state[1], updates = before.state[2];
  const NamedArray bound = step.own[0];
  const NamedArray scaled = g / at_least(sqrt(v), adopt.epsilon);
  const NamedArray clipped = map(Map::kMax, map(Map::kMin, scaled, bound), -bound);
  const NamedArray next = mix(m, clipped, 1 - adopt.beta1);
  After after =
      descend(config, before, step, next, {next, mix(v, g * g, 1 - adopt.beta2), updates + 1.0});
  const NamedArray begun = select(step.proceed, updates, updates + 1.0);  // 0 at the first update
  after.param = select(begun, after.param, before.param);
  after.state[0] = select(begun, after.state[0], m);
  after.state[1] = select(begun, after.state[1], g * g);
  return after;
}

}  // namespace

extern const OptimizerEntry adopt_entry;
const OptimizerEntry adopt_entry = {
    .name = "adopt",
    .summary = "ADOPT: Adam that converges with any beta2 (Taniguchi et al. 2024)",
    .make_config = config::make_choice<AdoptConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update,
    .elementwise = always};

}  // namespace levanter::optim
