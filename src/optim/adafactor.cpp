// Adafactor (Shazeer & Stern 2018, arXiv:1804.04235): a second moment kept as its means over rows
// and over columns; no first moment.
#include <cmath>

#include "optim/matrix.h"
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"decay"};

struct AdafactorConfig final : OptimizerConfig {
  double decay_rate = -0.8;
  double clip_threshold = 1;
  bool scale_parameter = true;
  double epsilon1 = 1e-30;
  double epsilon2 = 1e-3;

  AdafactorConfig() { learning_rate = 1e-2; }

 private:
  void own_fields(config::Fields& f) override {
    f("decay_rate", decay_rate,
      "power of the step's number that the second moment's decay is short of 1 by")
        .below(0)
        .at_least(-1);
    f("clip_threshold", clip_threshold,
      "the root mean square that an update is scaled down to before the learning rate")
        .above(0);
    f("scale_parameter", scale_parameter,
      "whether the learning rate is relative to the root mean square of the parameter");
    f("epsilon1", epsilon1, "added to the square of the gradient").above(0);
    f("epsilon2", epsilon2, "the least root mean square of a parameter").above(0);
  }
};

/// The type without one of the matrices' axes.
StateArray means(const nn::Param& param, const char* name, const char* over) {
  const Axes axes = without(matrix_axes(param), over);
  std::vector<int64_t> shape;
  for (const Axis& axis : axes) shape.push_back(axis.size);
  return {name, {param.type.dtype, axes}, shape};
}

std::vector<StateArray> state(const OptimizerConfig&, const nn::Param& param) {
  if (!is_matrix(param)) return {like(param, "exp_avg_sq")};
  return {means(param, "exp_avg_sq_row", kColumn), means(param, "exp_avg_sq_col", kRow)};
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& adafactor = dynamic_cast<const AdafactorConfig&>(config);
  values[0] = std::pow(static_cast<double>(step + 1), adafactor.decay_rate);
}

After update(const OptimizerConfig& config, const nn::Param& param, const Before& before,
             const Step& step) {
  const auto& c = dynamic_cast<const AdafactorConfig&>(config);
  const NamedArray g = before.grad * step.clip, weight = step.own[0];
  const auto moved = [&](NamedArray old, NamedArray now) { return old + (now - old) * weight; };
  std::vector<NamedArray> next;
  NamedArray u;
  if (is_matrix(param)) {
    const NamedArray matrix = to_matrices(g, param), squares = matrix * matrix + c.epsilon1;
    const Axes& axes = matrix.axes();
    const Axes rows = {{kRow, axes.size_of(kRow)}}, columns = {{kColumn, axes.size_of(kColumn)}};
    const NamedArray row = moved(before.state[0], mean(squares, columns));
    const NamedArray column = moved(before.state[1], mean(squares, rows));
    u = from_matrices(matrix * rsqrt(row / mean(row, rows)) * rsqrt(column), param);
    next = {row, column};
  } else {
    const NamedArray squares = moved(before.state[0], g * g + c.epsilon1);
    u = g * rsqrt(squares);
    next = {squares};
  }
  u = u / at_least(root_mean_square(u) / c.clip_threshold, 1);
  Step relative = step;
  if (c.scale_parameter)
    relative.lr = step.lr * at_least(root_mean_square(before.param), c.epsilon2);
  return descend(config, before, relative, u, next);
}

}  // namespace

extern const OptimizerEntry adafactor_entry;
const OptimizerEntry adafactor_entry = {
    .name = "adafactor",
    .summary = "Adafactor: second moments by row and column (Shazeer & Stern 2018)",
    .make_config = config::make_choice<AdafactorConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update};

}  // namespace levanter::optim
