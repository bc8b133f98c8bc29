// AdEMAMix (Pagliardini et al. 2024, arXiv:2409.03137): Adam with a second, much slower mean.
#include <algorithm>
#include <cmath>

#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"correction1", "correction2", "alpha", "beta3"};

struct AdEmaMixConfig final : OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double beta3 = 0.9999;
  double alpha = 5;
  double epsilon = 1e-8;
  std::optional<int64_t> t_alpha_beta3;

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the fast mean of the gradient").above(0).below(1);
    f("beta2", beta2, "decay of the running mean of its square").at_least(0).below(1);
    f("beta3", beta3, "decay of the slow mean of the gradient").above(0).below(1);
    f("alpha", alpha, "weight of the slow mean beside the fast one").at_least(0);
    f("epsilon", epsilon, "added to the root of the running mean of the square").above(0);
    f("t_alpha_beta3", t_alpha_beta3,
      "steps over which alpha rises from 0, and beta3 from beta1 so that the half-life of the slow "
      "mean rises evenly; the authors take all steps of the run. By default neither is warmed up")
        .at_least(1)
        .unit("steps");
  }
};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  return {like(param, "exp_avg"), like(param, "exp_avg_sq"), like(param, "exp_avg_slow")};
}

/// beta3 at a share of its warm-up: the decay whose half-life lies so far between the two.
double warm_beta3(const AdEmaMixConfig& c, double share) {
  const double a = std::log(c.beta1), b = std::log(c.beta3);
  return std::min(std::exp(a * b / ((1 - share) * b + share * a)), c.beta3);
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& c = dynamic_cast<const AdEmaMixConfig&>(config);
  const auto t = static_cast<double>(step + 1);
  values[0] = 1 - std::pow(c.beta1, t);
  values[1] = 1 - std::pow(c.beta2, t);
  values[2] = c.alpha;
  values[3] = c.beta3;
  if (!c.t_alpha_beta3) return;
  const double share = std::min(1.0, t / static_cast<double>(*c.t_alpha_beta3));
  values[2] = c.alpha * share;
  values[3] = warm_beta3(c, share);
}

After update(const OptimizerConfig& config, const nn::Param&, const Before& before,
             const Step& step) {
  const auto& c = dynamic_cast<const AdEmaMixConfig&>(config);
  const NamedArray g = before.grad * step.clip;
  const NamedArray correction1 = step.own[0], correction2 = step.own[1], alpha = step.own[2],
                   beta3 = step.own[3];
  const NamedArray m = mix(before.state[0], g, 1 - c.beta1);
  const NamedArray v = mix(before.state[1], g * g, 1 - c.beta2);
  const NamedArray slow = before.state[2] * beta3 + g * (1.0 - beta3);
  const NamedArray direction =
      (m / correction1 + slow * alpha) / (sqrt(v / correction2) + c.epsilon);
  return descend(config, before, step, direction, {m, v, slow});
}

}  // namespace

extern const OptimizerEntry ademamix_entry;
const OptimizerEntry ademamix_entry = {
    .name = "ademamix",
    .summary = "AdEMAMix: Adam with a second, slower mean (Pagliardini et al. 2024)",
    .make_config = config::make_choice<AdEmaMixConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update,
    .elementwise = always};

}  // namespace levanter::optim
