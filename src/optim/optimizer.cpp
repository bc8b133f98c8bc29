// What optimizers share: the norm of the gradients, the factor that clips them, and how a step
// ends.
#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/strings.h"
#include "config/problems.h"

namespace levanter::optim {

const OptimizerEntry& entry(std::string_view name) {
  for (const OptimizerEntry* candidate : entries())
    if (candidate->name == name) return *candidate;
  throw Error(ErrorKind::kInternal, cat("there is no optimizer ", quote(name)));
}

const Refresh* OptimizerEntry::refresh(Refresh::By by) const {
  for (const Refresh& candidate : refreshes)
    if (candidate.by == by) return &candidate;
  return nullptr;
}

bool is_diagonal(const Axes& axes, int64_t index) {
  if (axes.size() < 2) return true;
  const int64_t rows = axes[axes.size() - 2].size, columns = axes[axes.size() - 1].size;
  return index % columns == index / columns % rows;
}

void check_f32(config::Problems& p, std::span<const config::Field> fields) {
  using Limits = std::numeric_limits<float>;
  for (const config::Field& field : fields) {
    const config::Type* type = field.type;
    const void* value = field.value;
    if (type->kind == config::Kind::kOptional && type->size(value) == 1) {
      value = type->at(field.value, 0);
      type = &type->element();
    }
    if (type->kind != config::Kind::kNumber) continue;
    const double number = *static_cast<const double*>(value), magnitude = std::abs(number);
    if (number == 0 || (magnitude >= Limits::min() && magnitude <= Limits::max())) continue;
    p.add(field.key, cat(p.name(field.key), " = ", format_number(number), " is too ",
                         magnitude < 1 ? "small" : "large", " for f32, which updates are made in"))
        .allowed("numbers from 1.2e-38 to 3.4e38, or 0 where the key may be 0");
  }
}

StateArray like(const nn::Param& param, std::string_view name) {
  return {std::string(name), param.type, param.shape};
}

StateArray scalar_state(const nn::Param& param, std::string_view name) {
  return {std::string(name), {param.type.dtype, {}}, {}};
}

After settle(const Before& before, const Step& step, NamedArray param,
             std::vector<NamedArray> state) {
  After after{select(step.proceed, param, before.param), {}};
  for (size_t i = 0; i < state.size(); ++i)
    after.state.push_back(select(step.proceed, state[i], before.state[i]));
  return after;
}

NamedArray moving(const OptimizerConfig& config, const Before& before, const Step& step,
                  NamedArray direction) {
  if (step.weight_decay != 0) direction = direction + before.param * step.weight_decay;
  if (!config.update_rms_clipping) return direction;
  return direction / at_least(root_mean_square(direction) / *config.update_rms_clipping, 1);
}

After descend(const OptimizerConfig& config, const Before& before, const Step& step,
              NamedArray direction, std::vector<NamedArray> state) {
  return settle(before, step, before.param - step.lr * moving(config, before, step, direction),
                std::move(state));
}

bool always(const OptimizerConfig&, const nn::Param&) { return true; }

std::optional<Axis> row_axis(const Axes& axes) {
  for (const Axis& axis : axes)
    if (axis.size > 1) return axis;
  return std::nullopt;
}

NamedArray total(NamedArray x) { return x.axes().empty() ? x : sum(x, x.axes()); }

NamedArray square_sum(NamedArray x) {
  if (x.axes().empty()) return x * x;
  return total(sum_squares(x, row_axis(x.axes()).value_or(x.axes()[0]).name));
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

NamedArray root_mean_square(NamedArray x) {
  return sqrt(square_sum(x) / static_cast<double>(x.axes().elements()));
}

NamedArray mix(NamedArray a, NamedArray b, double weight) { return a * (1 - weight) + b * weight; }

NamedArray at_least(NamedArray x, double bound) {
  return map(Map::kMax, x, constant(x.graph(), bound, x.dtype()));
}

NamedArray at_most(NamedArray x, double bound) {
  return map(Map::kMin, x, constant(x.graph(), bound, x.dtype()));
}

NamedArray sign(NamedArray x) {
  const NamedArray zero = constant(x.graph(), 0, x.dtype());
  return map(Map::kLess, zero, x) - map(Map::kLess, x, zero);
}

}  // namespace levanter::optim
