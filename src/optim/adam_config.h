// Configuration of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), with Levanter's defaults.
#pragma once

#include "optim/optimizer_config.h"

namespace levanter {

struct AdamConfig final : OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  bool nesterov = false;            ///< Dozat 2016
  bool adamc_weight_decay = false;  ///< AdamC (Defazio 2025, arXiv:2506.02285)
  bool cautious = false;            ///< Liang et al. 2024, arXiv:2411.16085

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the running mean of the gradient").at_least(0).below(1);
    f("beta2", beta2, "decay of the running mean of its square").at_least(0).below(1);
    f("epsilon", epsilon, "added to the root of the running mean of the square").above(0);
    f("nesterov", nesterov, "whether the mean of the gradient is looked ahead of by one step");
    f("adamc_weight_decay", adamc_weight_decay,
      "whether weight_decay is multiplied by the learning rate's share of its peak once more");
    f("cautious", cautious,
      "whether an element moves only where update and gradient have one sign, the others by more");
  }
};

}  // namespace levanter
