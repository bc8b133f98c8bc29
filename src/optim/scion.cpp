// Scion (Pethick et al. 2025, arXiv:2502.07529): steps of a given size in the norm of each layer,
// the spectral one for hidden matrices, the largest element for all else.
#include <cmath>

#include "optim/matrix.h"
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

struct ScionConfig final : OptimizerConfig {
  double scion_to_signum_lr = 0.25;
  double momentum = 0.95;
  int64_t backend_steps = 10;
  double scion_epsilon = 1e-8;

  ScionConfig() { learning_rate = 0.02; }

 private:
  void own_fields(config::Fields& f) override {
    f("scion_to_signum_lr", scion_to_signum_lr,
      "what the learning rate is multiplied by for what is no hidden matrix")
        .at_least(0);
    f("momentum", momentum, "decay of the running mean of the gradient").at_least(0).below(1);
    f("backend_steps", backend_steps, "Newton-Schulz iterations").at_least(1).at_most(100);
    f("scion_epsilon", scion_epsilon, "added to the norm that a matrix is divided by").above(0);
  }
};

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  return {like(param, "momentum_buffer")};
}

After update(const OptimizerConfig& config, const nn::Param& param, const Before& before,
             const Step& step) {
  const auto& scion = dynamic_cast<const ScionConfig&>(config);
  const NamedArray m = mix(before.state[0], before.grad, 1 - scion.momentum);
  if (!is_hidden_matrix(param)) {
    Step scaled = step;
    scaled.lr = step.lr * scion.scion_to_signum_lr;
    return descend(config, before, scaled, sign(m), {m});
  }
  const NamedArray direction =
      orthogonalise(to_matrices(m, param), scion.backend_steps, scion.scion_epsilon);
  return descend(config, before, step,
                 from_matrices(direction, param) * std::sqrt(out_over_in(param)), {m});
}

bool elementwise(const OptimizerConfig&, const nn::Param& param) {
  return !is_hidden_matrix(param);
}

}  // namespace

extern const OptimizerEntry scion_entry;
const OptimizerEntry scion_entry = {
    .name = "scion",
    .summary = "Scion: steps of one spectral norm, signs for the rest (Pethick et al. 2025)",
    .make_config = config::make_choice<ScionConfig>,
    .state = state,
    .update = update,
    .elementwise = elementwise};

}  // namespace levanter::optim
