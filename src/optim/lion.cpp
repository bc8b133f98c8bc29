// Lion (Chen et al. 2023, arXiv:2302.06675): the sign of an interpolated momentum.
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

struct LionConfig final : OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "what the direction takes of the momentum, the rest of the gradient")
        .at_least(0)
        .below(1);
    f("beta2", beta2, "decay of the momentum").at_least(0).below(1);
  }
};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  return {like(param, "exp_avg")};
}

After update(const OptimizerConfig& config, const nn::Param&, const Before& before,
             const Step& step) {
  const auto& lion = dynamic_cast<const LionConfig&>(config);
  const NamedArray g = before.grad * step.clip, m = before.state[0];
  return descend(config, before, step, sign(mix(m, g, 1 - lion.beta1)),
                 {mix(m, g, 1 - lion.beta2)});
}

}  // namespace

extern const OptimizerEntry lion_entry;
const OptimizerEntry lion_entry = {
    .name = "lion",
    .summary = "Lion: the sign of an interpolated momentum (Chen et al. 2023)",
    .make_config = config::make_choice<LionConfig>,
    .state = state,
    .update = update,
    .elementwise = always};

}  // namespace levanter::optim
