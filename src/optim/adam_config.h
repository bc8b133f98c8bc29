// Configuration of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), with Levanter's defaults.
#pragma once

#include "optim/optimizer_config.h"

namespace levanter {

struct AdamConfig final : OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the running mean of the gradient").at_least(0).below(1);
    f("beta2", beta2, "decay of the running mean of its square").at_least(0).below(1);
    f("epsilon", epsilon, "added to the root of the running mean of the square").above(0);
    f.dropped("nesterov", "AdamW without Nesterov's momentum is what there is");
    f.dropped({"update_rms_clipping", "clip_update_norm"},
              "updates are not clipped; max_grad_norm clips the gradient");
    f.dropped("skip_bad_steps",
              "steps are skipped for a loss or norm that is not finite, never for an unusual one");
    f.dropped("adamc_weight_decay",
              "weight_decay is multiplied by the learning rate, not by its share of the peak once "
              "more: with true this would be another update; remove false");
  }
};

}  // namespace levanter
