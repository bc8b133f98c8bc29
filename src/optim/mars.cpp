// MARS (Yuan et al. 2024, arXiv:2411.10438): AdamW on a gradient whose variance is reduced by the
// one before, in the authors' approximate form.
#include <cmath>

#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"correction1", "correction2"};

struct MarsConfig final : OptimizerConfig {
  double beta1 = 0.95;
  double beta2 = 0.99;
  double gamma = 0.025;
  double epsilon = 1e-8;

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the running mean of the corrected gradient").at_least(0).below(1);
    f("beta2", beta2, "decay of the running mean of its square").at_least(0).below(1);
    f("gamma", gamma, "how much of the gradient's change is added to it").at_least(0);
    f("epsilon", epsilon, "added to the root of the running mean of the square").above(0);
  }
};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  return {like(param, "exp_avg"), like(param, "exp_avg_sq"), like(param, "last_grad")};
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& mars = dynamic_cast<const MarsConfig&>(config);
  const auto t = static_cast<double>(step + 1);
  values[0] = 1 - std::pow(mars.beta1, t);
  values[1] = 1 - std::pow(mars.beta2, t);
}

After update(const OptimizerConfig& config, const nn::Param&, const Before& before,
             const Step& step) {
  const auto& mars = dynamic_cast<const MarsConfig&>(config);
  const NamedArray g = before.grad * step.clip;
  const NamedArray change = (g - before.state[2]) * (mars.gamma * mars.beta1 / (1 - mars.beta1));
  const NamedArray corrected = g + change;
  const NamedArray c = corrected / at_least(sqrt(square_sum(corrected)), 1);
  const NamedArray m = mix(before.state[0], c, 1 - mars.beta1);
  const NamedArray v = mix(before.state[1], c * c, 1 - mars.beta2);
  const NamedArray direction = m / step.own[0] / (sqrt(v / step.own[1]) + mars.epsilon);
  return descend(config, before, step, direction, {m, v, g});
}

}  // namespace

extern const OptimizerEntry mars_entry;
const OptimizerEntry mars_entry = {
    .name = "mars",
    .summary = "MARS: AdamW on a gradient of less variance (Yuan et al. 2024)",
    .make_config = config::make_choice<MarsConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update};

}  // namespace levanter::optim
