// Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): orthogonalised momentum
// for the hidden matrices, AdamW for all else.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "config/problems.h"
#include "optim/adam_config.h"
#include "optim/matrix.h"
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"correction1", "correction2"};

struct MuonConfig final : OptimizerConfig {
  double adam_lr = 6e-4;
  double momentum = 0.95;
  bool nesterov = true;
  int64_t backend_steps = 5;
  double muon_epsilon = 1e-8;
  bool use_kimi_scaling = false;
  AdamConfig adam;

  MuonConfig() { learning_rate = 0.02; }

  void validate(config::Problems& p) const override {
    constexpr double kLeast = 1e-30;  // f32 still multiplies a rate by its inverse
    OptimizerConfig::validate(p);
    if (learning_rate > 0 && learning_rate < kLeast * adam_lr)
      p.add("learning_rate",
            cat(p.name("learning_rate"), " = ", format_number(learning_rate),
                " is too small beside ", p.name("adam_lr"), " = ", format_number(adam_lr),
                ", which follows its course"),
            {"adam_lr"})
          .allowed(cat("at least ", format_number(kLeast), " of ", p.name("adam_lr")))
          .hint("a group of the hidden matrices with frozen = true trains all else alone");
    if (learning_rate == 0 && adam_lr > 0)
      p.add("learning_rate",
            cat(p.name("learning_rate"), " = 0 would hold ", p.name("adam_lr"), " = ",
                format_number(adam_lr), " at 0 too, which follows its course"),
            {"adam_lr"})
          .allowed(cat("above 0, or ", p.name("adam_lr"), " = 0 as well"))
          .hint("a group of the hidden matrices with frozen = true trains all else alone");
  }

 private:
  void own_fields(config::Fields& f) override {
    f("adam_lr", adam_lr,
      "the peak of the learning rate of what is no hidden matrix; learning_rate is the matrices'")
        .at_least(0);
    f("momentum", momentum, "decay of the matrices' momentum").at_least(0).below(1);
    f("nesterov", nesterov, "whether the momentum is looked ahead of by one step");
    f("backend_steps", backend_steps, "Newton-Schulz iterations").at_least(1).at_most(100);
    f("muon_epsilon", muon_epsilon, "added to the norm that a matrix is divided by").above(0);
    f("use_kimi_scaling", use_kimi_scaling,
      "whether a matrix moves as far as AdamW would move it, by 0.2 sqrt(max(out, in)), so that "
      "AdamW's learning rates fit (Liu et al. 2025)");
    f("beta1", adam.beta1, "beta1 of AdamW").at_least(0).below(1);
    f("beta2", adam.beta2, "beta2 of AdamW").at_least(0).below(1);
    f("epsilon", adam.epsilon, "epsilon of AdamW").above(0);
  }
};

std::vector<StateArray> state(const OptimizerConfig& config, const nn::Param& param) {
  if (is_hidden_matrix(param)) return {like(param, "momentum_buffer")};
  return entry("adam").state(config, param);
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  entry("adam").scalars(dynamic_cast<const MuonConfig&>(config).adam, step, values);
}

/// What the orthogonal matrix is multiplied by.
double scale_of(const MuonConfig& muon, const nn::Param& param) {
  const double ratio = out_over_in(param);
  if (!muon.use_kimi_scaling) return std::sqrt(std::max(1.0, ratio));
  const double in = static_cast<double>(param.in.elements());
  return 0.2 * std::sqrt(std::max(in, ratio * in));
}

/// AdamW's rate is that of the run, of which lr_scale is all that a group says.
void follow(OptimizerConfig& config) {
  dynamic_cast<MuonConfig&>(config).adam_lr = config.learning_rate;
}

After update_rest(const MuonConfig& muon, const nn::Param& param, const Before& before, Step step) {
  AdamConfig adam = muon.adam;
  adam.update_rms_clipping = muon.update_rms_clipping;
  if (muon.learning_rate > 0) step.lr = step.lr * (muon.adam_lr / muon.learning_rate);
  return entry("adam").update(adam, param, before, step);
}

After update(const OptimizerConfig& config, const nn::Param& param, const Before& before,
             const Step& step) {
  const auto& muon = dynamic_cast<const MuonConfig&>(config);
  if (!is_hidden_matrix(param)) return update_rest(muon, param, before, step);
  const NamedArray g = before.grad;  // not clipped: its norm goes out again
  const NamedArray buffer = before.state[0] * muon.momentum + g;
  const NamedArray ahead = muon.nesterov ? buffer * muon.momentum + g : buffer;
  const NamedArray direction =
      orthogonalise(to_matrices(ahead, param), muon.backend_steps, muon.muon_epsilon);
  return descend(config, before, step, from_matrices(direction, param) * scale_of(muon, param),
                 {buffer});
}

bool elementwise(const OptimizerConfig&, const nn::Param& param) {
  return !is_hidden_matrix(param);
}

}  // namespace

extern const OptimizerEntry muon_entry;
const OptimizerEntry muon_entry = {
    .name = "muon",
    .summary =
        "Muon: orthogonalised momentum of hidden matrices, AdamW for the rest (Jordan et al. "
        "2024)",
    .make_config = config::make_choice<MuonConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update,
    .follow = follow,
    .elementwise = elementwise};

}  // namespace levanter::optim
