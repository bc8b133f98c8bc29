// PSGD Kron (Li 2015, arXiv:1512.04202; 2024, arXiv:2402.11858): momentum whitened by a matrix for
// the rows and one for the columns, each fitted by products alone ("PRO", Q^0.5 E Q^1.5).
#include <algorithm>
#include <cmath>
#include <limits>

#include "optim/matrix.h"
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"correction1"};
constexpr int kPowerIterations = 2;
constexpr double kTiny = std::numeric_limits<float>::min();

struct KronConfig final : OptimizerConfig {
  double beta1 = 0.9;
  double preconditioner_lr = 0.1;
  double preconditioner_update_probability = 0.05;
  int64_t update_prob_flat_start = 500;
  int64_t max_size_triangular = 8192;
  double lower_bound_beta = 0.9;
  double update_rms = 1.1;

  KronConfig() { learning_rate = 1e-3; }

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the running mean of the gradient").at_least(0).below(1);
    f("preconditioner_lr", preconditioner_lr, "step size of the whitening matrices")
        .above(0)
        .at_most(1);
    f("preconditioner_update_probability", preconditioner_update_probability,
      "how often they are fitted in the long run, in fits a step, evenly spread")
        .above(0)
        .at_most(1);
    f("update_prob_flat_start", update_prob_flat_start,
      "steps in each of which they are fitted; after them the frequency falls by a thousandth a "
      "step")
        .at_least(0)
        .unit("steps");
    f("max_size_triangular", max_size_triangular,
      "the longest axis that is whitened by a matrix; a longer one is by its diagonal")
        .at_least(1);
    f("lower_bound_beta", lower_bound_beta, "decay of the bound on how far a fit goes")
        .at_least(0)
        .below(1);
    f("update_rms", update_rms, "the root mean square that an update is scaled down to").above(0);
  }
};

/// An axis of the gradient that is whitened, and whether by a matrix.
struct Factor : Side {
  bool dense = false;
};

/// Of a matrix its rows and columns; of a vector, such as a bias, its elements, whatever axes they
/// have in memory.
std::vector<Factor> factors_of(const KronConfig& config, const nn::Param& param) {
  std::vector<Factor> factors;
  for (const Side& side : sides_of(param))
    factors.push_back({side, is_matrix(param) && side.axis.size > 1 &&
                                 side.axis.size <= config.max_size_triangular});
  return factors;
}

/// The mean of the gradient, then of each factor its matrix or diagonal and its bound.
std::vector<StateArray> state(const OptimizerConfig& config, const nn::Param& param) {
  std::vector<StateArray> arrays = {like(param, "exp_avg")};
  for (const Factor& f : factors_of(dynamic_cast<const KronConfig&>(config), param)) {
    Axes axes = stack_of(param);
    arrays.push_back(state_over(param, "bound_" + f.name, axes));
    if (f.dense) axes.push_back({f.other, f.axis.size});
    axes.push_back(f.axis);
    arrays.push_back(state_over(param, "q_" + f.name, axes, StateArray::Begin::kIdentity));
  }
  return arrays;
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& kron = dynamic_cast<const KronConfig&>(config);
  values[0] = 1 - std::pow(kron.beta1, static_cast<double>(step + 1));
}

/// Fits before update number `step`, where they are spread evenly: a sum of frequencies.
double fits_before(const KronConfig& c, int64_t step) {
  constexpr double kFall = 1e-3;
  const auto n = static_cast<double>(step), flat = static_cast<double>(c.update_prob_flat_start);
  if (n <= flat) return n;
  const double falling = std::floor(-std::log(c.preconditioner_update_probability) / kFall);
  const double k = std::min(n - flat, falling), ratio = std::exp(-kFall);
  return flat + ratio * (1 - std::pow(ratio, k)) / (1 - ratio) +
         std::max(0.0, n - flat - falling) * c.preconditioner_update_probability;
}

bool due(const OptimizerConfig& config, int64_t step) {
  const auto& c = dynamic_cast<const KronConfig&>(config);
  return std::floor(fits_before(c, step + 1)) > std::floor(fits_before(c, step));
}

/// The gradient's mean, corrected, as matrices or a vector.
NamedArray momentum(const KronConfig& c, const nn::Param& param, const Before& before,
                    const Step& step, NamedArray& kept) {
  kept = mix(before.state[0], before.grad * step.clip, 1 - c.beta1);
  return to_matrices(kept / step.own[0], param);
}

/// x whitened along every axis: Q^T Q of each factor.
NamedArray whiten(NamedArray x, std::span<const Factor> factors, std::span<const NamedArray> q) {
  for (size_t i = 0; i < factors.size(); ++i)
    x = factors[i].dense ? multiply_transposed(q[i], multiply(q[i], x, factors[i]), factors[i])
                         : x * q[i] * q[i];
  return x;
}

/// The largest singular value of each matrix, about: power iterations from the longest row.
NamedArray largest_singular_value(NamedArray a, const Factor& f) {
  const Axes row = {{f.other, f.axis.size}}, column = {f.axis};
  const NamedArray lengths = sqrt(sum(a * a, column));
  const NamedArray longest = at_least(reduce(Reduce::kMax, lengths, row), kTiny);
  const NamedArray index = top_k(lengths, f.other, {"choice", 1});
  NamedArray x = reduce(Reduce::kMax, gather(a, f.other, index), {{"choice", 1}}) / longest;
  const NamedArray scaled = a / longest;
  const auto twice = [&](NamedArray v) {
    return multiply_transposed(scaled, multiply(scaled, v, f), f);
  };
  for (int i = 0; i < kPowerIterations; ++i) {
    const NamedArray y = twice(x);
    x = y / at_least(sqrt(sum(y * y, column)), 1e-12);
  }
  return sqrt(sum(x * twice(x), column)) * longest;
}

NamedArray transposed(NamedArray a, const Factor& f) {
  const Axes axes = a.axes();
  const NamedArray renamed =
      rename(rename(rename(a, f.axis.name, "swapped"), f.other, f.axis.name), "swapped", f.other);
  return copy(transpose(renamed, axes));
}

/// a b of two such matrices.
NamedArray product(NamedArray a, NamedArray b, const Factor& f) {
  const NamedArray right = rename(b, f.other, "summed"), left = rename(a, f.axis.name, "summed");
  return dot(left, right, a.axes());
}

NamedArray trace(NamedArray a, const Factor& f) {
  const Axes both = {{f.other, f.axis.size}, f.axis};
  const auto index = [&](const Axis& axis) {
    return broadcast(iota(a.graph(), axis, DType::i32), both);
  };
  const NamedArray diagonal = cast(map(Map::kEqual, index(both[0]), index(both[1])), a.dtype());
  return sum(a * diagonal, both);
}

/// Turns q towards a symmetric matrix, by the best step along a rotation (Procrustes).
NamedArray turn(NamedArray q, const Factor& f) {
  NamedArray r = transposed(q, f) - q;
  r = r / (largest_singular_value(r, f) + kTiny);
  const NamedArray rq = product(r, q, f), rrq = product(r, rq, f);
  const NamedArray c1 = trace(rq, f), c2 = trace(rrq, f);
  const NamedArray half = c2 * 0.0 + 0.5, zero = c2 * 0.0;
  const NamedArray falls = map(Map::kLess, c2, zero);  // else, as of a diagonal q, there is no best
  const NamedArray best = at_most(at_least(-c1 / select(falls, c2, half), 0), 0.5);
  const NamedArray a = select(falls, best, half);
  return q + rq * a + rrq * (a * a * 0.5);
}

/// Scales the factors so that their largest elements are equal.
void balance(std::vector<NamedArray>& q, const Axes& stack) {
  std::vector<NamedArray> logs;
  NamedArray total;
  for (const NamedArray& one : q) {
    logs.push_back(log(reduce(Reduce::kMax, map(Map::kAbs, one), without(one.axes(), stack))));
    total = total ? total + logs.back() : logs.back();
  }
  for (size_t i = 0; i < q.size(); ++i)
    q[i] = q[i] * exp(total / static_cast<double>(q.size()) - logs[i]);
}

std::vector<NamedArray> refresh(const OptimizerConfig& config, const nn::Param& param,
                                const Before& before, const Step& step) {
  const auto& c = dynamic_cast<const KronConfig&>(config);
  const std::vector<Factor> factors = factors_of(c, param);
  const Axes stack = stack_of(param);
  std::vector<NamedArray> q;
  for (size_t i = 0; i < factors.size(); ++i) q.push_back(before.state[2 + 2 * i]);
  balance(q, stack);
  NamedArray kept;
  const NamedArray white = whiten(momentum(c, param, before, step, kept), factors, q);
  std::vector<NamedArray> next = {before.state[0]};
  for (size_t i = 0; i < factors.size(); ++i) {
    const Factor& f = factors[i];
    const double target = static_cast<double>(without(white.axes(), stack).elements()) /
                          static_cast<double>(f.axis.size);
    const NamedArray bound = before.state[1 + 2 * i];
    NamedArray covariance, largest;
    if (f.dense) {
      covariance = gram(white, f, stack);
      largest = largest_singular_value(covariance, f);
    } else {
      const Axes others = without(white.axes(), q[i].axes());
      covariance = others.empty() ? white * white : sum(white * white, others);
      largest = reduce(Reduce::kMax, covariance, {f.axis});
    }
    largest = largest + target;
    largest = map(Map::kMax, largest, mix(bound, largest, 1 - c.lower_bound_beta));
    const NamedArray off =
        f.dense ? product(covariance, q[i], f) - q[i] * target : q[i] * (covariance - target);
    const NamedArray moved = q[i] - off / largest * c.preconditioner_lr;
    next.push_back(largest);
    next.push_back(f.dense ? turn(moved, f) : moved);
  }
  return next;
}

After update(const OptimizerConfig& config, const nn::Param& param, const Before& before,
             const Step& step) {
  const auto& c = dynamic_cast<const KronConfig&>(config);
  const std::vector<Factor> factors = factors_of(c, param);
  std::vector<NamedArray> q;
  for (size_t i = 0; i < factors.size(); ++i) q.push_back(before.state[2 + 2 * i]);
  NamedArray kept;
  NamedArray direction = whiten(momentum(c, param, before, step, kept), factors, q);
  direction = from_matrices(direction, param);
  direction = direction / at_least(root_mean_square(direction) / c.update_rms, 1);
  std::vector<NamedArray> state(before.state.begin(),
                                before.state.begin() + 1 + 2 * std::ssize(factors));
  state[0] = kept;
  return descend(config, before, step, direction, state);
}

constexpr Refresh kRefreshes[] = {{.by = Refresh::By::kGradient, .due = due, .state = refresh}};

}  // namespace

extern const OptimizerEntry kron_entry;
const OptimizerEntry kron_entry = {
    .name = "kron",
    .summary = "PSGD Kron: momentum whitened by rows and columns (Li 2015, 2024)",
    .make_config = config::make_choice<KronConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update,
    .refreshes = kRefreshes};

}  // namespace levanter::optim
