// Sophia-G (Liu et al. 2023, arXiv:2305.14342): momentum over a diagonal of the Hessian, which is
// estimated every few steps from labels that the model draws itself (Gauss-Newton-Bartlett).
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

struct SophiaConfig final : OptimizerConfig {
  double beta1 = 0.965;
  double beta2 = 0.99;
  double gamma = 0.05;
  double epsilon = 1e-12;
  double clip_threshold = 1;
  int64_t update_interval = 10;

  SophiaConfig() { learning_rate = 3e-4; }

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the running mean of the gradient").at_least(0).below(1);
    f("beta2", beta2, "decay of the running mean of the estimates of the Hessian's diagonal")
        .at_least(0)
        .below(1);
    f("gamma", gamma,
      "what the diagonal is multiplied by: the less, the fewer elements are clipped")
        .above(0);
    f("epsilon", epsilon, "the least that an element of the mean is divided by").above(0);
    f("clip_threshold", clip_threshold, "the largest element of the direction").above(0);
    f("update_interval", update_interval,
      "steps between two estimates, each of which costs one more pass over the batch")
        .at_least(1)
        .unit("steps");
  }
};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  return {like(param, "exp_avg"), like(param, "hessian")};
}

After update(const OptimizerConfig& config, const nn::Param&, const Before& before,
             const Step& step) {
  const auto& c = dynamic_cast<const SophiaConfig&>(config);
  const NamedArray h = before.state[1];
  const NamedArray m = mix(before.state[0], before.grad * step.clip, 1 - c.beta1);
  const NamedArray ratio = m / at_least(h * c.gamma, c.epsilon);
  const NamedArray direction = at_least(at_most(ratio, c.clip_threshold), -c.clip_threshold);
  return descend(config, before, step, direction, {m, h});
}

bool due(const OptimizerConfig& config, int64_t step) {
  const int64_t interval = dynamic_cast<const SophiaConfig&>(config).update_interval;
  return step % interval == interval - 1;
}

/// Of gradients of the mean over B tokens with drawn labels, the diagonal is about B g^2.
std::vector<NamedArray> refresh(const OptimizerConfig& config, const nn::Param&,
                                const Before& before, const Step& step) {
  const auto& c = dynamic_cast<const SophiaConfig&>(config);
  const NamedArray estimate = before.grad * before.grad / step.inverse_tokens;
  return {before.state[0], mix(before.state[1], estimate, 1 - c.beta2)};
}

constexpr Refresh kRefreshes[] = {{.by = Refresh::By::kDrawnLabels, .due = due, .state = refresh}};

}  // namespace

extern const OptimizerEntry sophia_entry;
const OptimizerEntry sophia_entry = {
    .name = "sophia",
    .summary = "Sophia-G: momentum over a clipped estimate of the Hessian (Liu et al. 2023)",
    .make_config = config::make_choice<SophiaConfig>,
    .state = state,
    .update = update,
    .refreshes = kRefreshes,
    .elementwise = always};

}  // namespace levanter::optim
