// An optimizer as graph code: what it keeps for each parameter and how a step changes it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/scope.h"
#include "optim/optimizer_config.h"

namespace levanter::optim {

/// One parameter in the update function, before the step.
struct Before {
  NamedArray param, grad;
  std::vector<NamedArray> state;  ///< the arrays that the optimizer's `state` says
};

/// The same after the step.
struct After {
  NamedArray param;
  std::vector<NamedArray> state;
};

/// Scalars of the step, as values of the graph.
struct StepScalars {
  NamedArray lr;
  NamedArray proceed;           ///< 1 to update; 0 leaves every bit of parameters and state
  NamedArray clip;              ///< what scales all gradients down to max_grad_norm; at most 1
  std::vector<NamedArray> own;  ///< the optimizer's own, in the order of scalar_names
};

/// An array that is kept for a parameter, zeros at first.
struct StateArray {
  std::string name;  ///< "exp_avg": those of one name lie together
  Type type;
  std::vector<int64_t> shape;  ///< in files
};
/// State as the parameter is.
StateArray like(const nn::Param& param, std::string_view name);

/// One optimizer: src/optim/<name>.cpp defines `<name>_entry`.
struct OptimizerEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<config::Choosable> (*make_config)();
  /// What is kept for a parameter.
  std::vector<StateArray> (*state)(const OptimizerConfig& config, const nn::Param& param);
  /// Host-computed scalars that the update takes besides the learning rate; none by default.
  std::span<const std::string_view> scalar_names = {};
  /// Their values at update number `step`, from 0; null where there are none.
  void (*scalars)(const OptimizerConfig& config, int64_t step, std::span<double> values) = nullptr;
  /// Appends the update of every parameter that is trained, in its order.
  std::vector<After> (*update)(const OptimizerConfig& config, std::span<const nn::Param> params,
                               std::span<const Before> before, const StepScalars& scalars);

  /// Fills `values`, one for each of scalar_names, for update number `step`.
  void fill_scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) const {
    if (scalars) scalars(config, step, values);
  }
};

std::span<const OptimizerEntry* const> entries();
/// The optimizer called `name`, which a loaded config always names rightly.
const OptimizerEntry& entry(std::string_view name);

/// The sum of a gradient's squares, summed shard axis last.
NamedArray square_sum(NamedArray grad);
/// The norm of all gradients from the sum of each one's squares.
NamedArray global_norm(std::span<const NamedArray> square_sums);
/// The factor that scales a gradient of norm `norm` down to `max_norm`; 1 where it is below.
NamedArray clip_factor(NamedArray norm, double max_norm);
/// Whether weight decay applies to a parameter of this role.
bool decays(const OptimizerConfig& config, nn::Role role);

}  // namespace levanter::optim
