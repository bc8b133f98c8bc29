// The global norm of the gradients, the factor that clips them, and which parameters decay.
#include "optim/optimizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::optim {

const OptimizerEntry& entry(std::string_view name) {
  for (const OptimizerEntry* candidate : entries())
    if (candidate->name == name) return *candidate;
  throw Error(ErrorKind::kInternal, cat("there is no optimizer ", quote(name)));
}

StateArray like(const nn::Param& param, std::string_view name) {
  return {std::string(name), param.type, param.shape};
}

NamedArray square_sum(NamedArray grad) {
  const Axes& axes = grad.axes();
  const AxisName shard = axes.contains("embed") || axes.empty() ? AxisName("embed") : axes[0].name;
  return sum_squares(grad, shard);
}

NamedArray global_norm(std::span<const NamedArray> square_sums) {
  NamedArray total;
  for (const NamedArray& squares : square_sums) total = total ? total + squares : squares;
  return sqrt(total);
}

NamedArray clip_factor(NamedArray norm, double max_norm) {
  const NamedArray limit = constant(norm.graph(), max_norm, norm.dtype());
  const NamedArray one = constant(norm.graph(), 1, norm.dtype());
  return select(map(Map::kLess, norm, limit), one, limit / norm);
}

bool decays(const OptimizerConfig& config, nn::Role role) {
  const auto& roles = config.decay_roles;
  return config.weight_decay != 0 &&
         std::find(roles.begin(), roles.end(), nn::name_of(role)) != roles.end();
}

}  // namespace levanter::optim
