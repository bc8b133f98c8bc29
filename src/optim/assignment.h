// The optimizers of a run: which one each parameter has, and what its group changes.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "optim/groups.h"
#include "optim/optimizer.h"

namespace levanter::optim {

/// How one parameter is updated.
struct Rule {
  const OptimizerEntry* optimizer;
  const OptimizerConfig* config;  ///< of that optimizer
  double lr_scale = 1;
  double weight_decay = 0;  ///< 0 where its role is not decayed
};

class Assignment final {
 public:
  /// The optimizer of parameters without a group, and its config, whose groups say the others'; it
  /// outlives this.
  Assignment(const OptimizerEntry& optimizer, const OptimizerConfig& config);

  const OptimizerConfig& config() const { return config_; }
  const Groups& groups() const { return groups_; }
  Rule rule_of(const nn::Param& param) const;

  /// Rows that a parameter may be cut into, to be updated apart: see row_axis. 1: it stays whole,
  /// since its update is no elementwise one, or it is a vector.
  int64_t rows(const nn::Param& param) const;
  /// What is kept for a parameter: the optimizer's arrays, then the average of optimizer.ema.
  std::vector<StateArray> state(const nn::Param& param) const;
  /// Whether averages of this sort are kept of some of the parameters.
  bool keeps(StateArray::Average average, std::span<const nn::Param> params) const;
  /// Scalars that the host computes for a step, "adam.correction1", and their values at update
  /// number `step`, from 0.
  std::vector<std::string> scalar_names() const;
  void fill_scalars(int64_t step, std::span<double> values) const;
  /// Whether some optimizer takes such a gradient at all, and at update number `step`.
  bool refreshes(Refresh::By by) const;
  bool refreshes(Refresh::By by, int64_t step) const;
  /// Appends the state of a parameter that such a gradient refreshes: all of it, or nothing where
  /// its optimizer takes none. `common` is update's.
  std::vector<NamedArray> refresh(Refresh::By by, const nn::Param& param, const Before& before,
                                  const Step& common) const;
  /// Appends the update of a parameter. `common` has what all parameters have in common: the
  /// learning rate that is not scaled and all own scalars.
  After update(const nn::Param& param, const Before& before, const Step& common) const;

 private:
  /// An optimizer that some parameters have.
  struct Used {
    const OptimizerEntry* optimizer;
    const OptimizerConfig* config;
    std::unique_ptr<OptimizerConfig> own;  ///< where a group names it
  };
  const Used& used(std::string_view name) const;
  /// The common step as one parameter's.
  Step step_of(const Rule& rule, const Step& common) const;

  const OptimizerConfig& config_;
  Groups groups_;
  std::vector<Used> used_;  ///< the config's own the first
};

}  // namespace levanter::optim
