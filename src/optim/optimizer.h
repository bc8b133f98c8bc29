// An optimizer as graph code: what it keeps for a parameter and how a step changes it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

/// What an update of one parameter goes by, besides the gradient. Scalars are values of the graph.
struct Step {
  NamedArray lr;                ///< of this parameter
  NamedArray proceed;           ///< 1 to update; 0 leaves every bit of parameters and state
  NamedArray clip;              ///< what scales all gradients down to max_grad_norm; at most 1
  std::vector<NamedArray> own;  ///< the optimizer's own, in the order of scalar_names
  double weight_decay = 0;      ///< of this parameter; 0 where it is not decayed
  double peak_lr = 0;           ///< what `lr` is at its highest
  NamedArray inverse_tokens;    ///< in a Refresh: 1 over the loss tokens of the global batch
};

/// An array that is kept for a parameter.
struct StateArray {
  /// What it holds before the first step. The identity is of the last two axes; of fewer, ones.
  enum class Begin : uint8_t { kZeros, kParameter, kIdentity };
  /// Whether it is what evaluations and exports take for the parameter.
  enum class Average : uint8_t { kNo, kBeside, kInstead };

  std::string name;  ///< "exp_avg": those of one name lie together
  Type type;
  std::vector<int64_t> shape;  ///< in files
  Begin begin = Begin::kZeros;
  Average average = Average::kNo;
};
/// What averages are called in checkpoints: see StateArray::Average.
inline constexpr std::string_view kEma = "ema", kAverage = "average";
/// Whether the element `index`, row-major, is a 1 of Begin::kIdentity.
bool is_diagonal(const Axes& axes, int64_t index);
/// State as the parameter is.
StateArray like(const nn::Param& param, std::string_view name);
/// One number for a parameter.
StateArray scalar_state(const nn::Param& param, std::string_view name);

/// Another function of an optimizer, which at some steps changes its state.
struct Refresh {
  /// What gradient it takes: that of the step, before the update, which takes it too (at the run's
  /// first step alone, or when it is due); or, after the update, that of the same batch with labels
  /// that the model draws itself. An optimizer has one function of each at most.
  enum class By : uint8_t { kFirstGradient, kGradient, kDrawnLabels };
  By by = By::kGradient;
  /// Whether update number `step`, from 0, has one.
  bool (*due)(const OptimizerConfig& config, int64_t step);
  /// Appends the new state of one parameter, which it has some of: empty where it has none.
  std::vector<NamedArray> (*state)(const OptimizerConfig& config, const nn::Param& param,
                                   const Before& before, const Step& step);
};

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
  /// Appends the update of one parameter.
  After (*update)(const OptimizerConfig& config, const nn::Param& param, const Before& before,
                  const Step& step);
  std::span<const Refresh> refreshes = {};
  /// Sets the other rates of a group's config by learning_rate, which is the run's; null where that
  /// is the only one.
  void (*follow)(OptimizerConfig& config) = nullptr;
  /// Whether it keeps a mean of the weights that is the model: Average::kInstead.
  bool averages = false;
  /// Whether each element of such a parameter is updated by its own gradient and state alone, so
  /// that parts of it may be updated apart: its state is then shaped as it is, or a number that is
  /// the same for every part. Null: never.
  bool (*elementwise)(const OptimizerConfig& config, const nn::Param& param) = nullptr;

  /// Its function by such a gradient; null for none.
  const Refresh* refresh(Refresh::By by) const;
};

std::span<const OptimizerEntry* const> entries();
/// The optimizer called `name`, which a loaded config always names rightly.
const OptimizerEntry& entry(std::string_view name);

/// Faults numbers of a config that are 0 or infinite in f32, or have lost digits there, though they
/// are not as they stand.
void check_f32(config::Problems& p, std::span<const config::Field> fields);

/// What the learning rate multiplies: direction + weight_decay p, with update_rms_clipping = c
/// divided by max(1, its root mean square / c).
NamedArray moving(const OptimizerConfig& config, const Before& before, const Step& step,
                  NamedArray direction);
/// What most updates end with, where the step proceeds:
///   p' = p - lr moving(direction), and the new state
After descend(const OptimizerConfig& config, const Before& before, const Step& step,
              NamedArray direction, std::vector<NamedArray> state);
/// The parameter and state given, where the step proceeds.
After settle(const Before& before, const Step& step, NamedArray param,
             std::vector<NamedArray> state);

/// For OptimizerEntry::elementwise: of any parameter.
bool always(const OptimizerConfig& config, const nn::Param& param);
/// The axis of a parameter's rows: the outermost of more than one index; nothing where none is.
std::optional<Axis> row_axis(const Axes& axes);
/// The sum of x's squares: of each of its rows, then of these. sum_squares gives a row the same
/// bits whatever other rows there are.
NamedArray square_sum(NamedArray x);
/// The sum of all elements.
NamedArray total(NamedArray x);
/// The root of the mean of all elements' squares.
NamedArray root_mean_square(NamedArray x);
/// The norm of all gradients from the sum of each one's squares.
NamedArray global_norm(std::span<const NamedArray> square_sums);
/// The factor that scales a gradient of norm `norm` down to `max_norm`; 1 where it is below.
NamedArray clip_factor(NamedArray norm, double max_norm);
/// Whether weight decay applies to a parameter of this role.
bool decays(const OptimizerConfig& config, nn::Role role);

/// A value between a and b: a + weight (b - a), with constants: (1 - weight) a + weight b.
NamedArray mix(NamedArray a, NamedArray b, double weight);
/// The larger, and the smaller, of x and a constant.
NamedArray at_least(NamedArray x, double bound);
NamedArray at_most(NamedArray x, double bound);
/// -1, 0 or 1.
NamedArray sign(NamedArray x);

}  // namespace levanter::optim
