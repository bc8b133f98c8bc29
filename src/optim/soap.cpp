// SOAP (Vyas et al. 2024, arXiv:2409.11321): Adam in the eigenbases of Shampoo's factors, which
// are turned by one power iteration and a QR decomposition every few steps.
#include <algorithm>
#include <cmath>

#include "optim/matrix.h"
#include "optim/optimizer.h"

namespace levanter::optim {

namespace {

constexpr std::string_view kScalars[] = {"begun", "correction1", "correction2"};

struct SoapConfig final : OptimizerConfig {
  double beta1 = 0.95, beta2 = 0.95, shampoo_beta = 0.95, epsilon = 1e-8;
  int64_t precondition_frequency = 10;
  int64_t max_precond_dim = 10000;
  bool one_sided = false;

  SoapConfig() { learning_rate = 3e-3; }

 private:
  void own_fields(config::Fields& f) override {
    f("beta1", beta1, "decay of the running mean of the gradient").at_least(0).below(1);
    f("beta2", beta2, "decay of the running mean of its squares in the eigenbases")
        .at_least(0)
        .below(1);
    f("shampoo_beta", shampoo_beta, "decay of the running means G G^T and G^T G")
        .at_least(0)
        .below(1);
    f("epsilon", epsilon, "added to the root of the mean square").above(0);
    f("precondition_frequency", precondition_frequency,
      "steps after which the eigenbases are turned")
        .at_least(1)
        .unit("steps");
    f("max_precond_dim", max_precond_dim,
      "the longest axis that has an eigenbasis; a longer one, such as a vocabulary, stays as it is")
        .at_least(1);
    f("one_sided", one_sided, "whether only the shorter axis of a matrix has an eigenbasis");
  }
};

/// The axes of a matrix that have an eigenbasis, the shorter one first; none of a vector.
std::vector<Side> turned_sides(const SoapConfig& config, const nn::Param& param) {
  if (!is_matrix(param)) return {};
  std::vector<Side> sides = sides_of(param);
  if (sides[1].axis.size < sides[0].axis.size) std::swap(sides[0], sides[1]);
  if (config.one_sided) sides.pop_back();
  std::erase_if(sides, [&](const Side& side) {
    return side.axis.size == 1 || side.axis.size > config.max_precond_dim;
  });
  return sides;
}

/// Where in the state of a parameter an array of a side is.
size_t mean_of(size_t side) { return 2 + 2 * side; }
size_t basis_of(size_t side) { return 3 + 2 * side; }

/// Both means of Adam, of the gradient in the eigenbases; then of each side the mean of G G^T or
/// G^T G and its eigenbasis, [stack..., other, axis], a vector for each index of `axis`.
std::vector<StateArray> state(const OptimizerConfig& config, const nn::Param& param) {
  std::vector<StateArray> arrays = {like(param, "exp_avg"), like(param, "exp_avg_sq")};
  for (const Side& side : turned_sides(dynamic_cast<const SoapConfig&>(config), param)) {
    Axes axes = stack_of(param);
    axes.push_back({side.other, side.axis.size});
    axes.push_back(side.axis);
    arrays.push_back(state_over(param, "gram_" + side.name, axes));
    arrays.push_back(state_over(param, "basis_" + side.name, axes, StateArray::Begin::kIdentity));
  }
  return arrays;
}

void scalars(const OptimizerConfig& config, int64_t step, std::span<double> values) {
  const auto& soap = dynamic_cast<const SoapConfig&>(config);
  const auto updates = static_cast<double>(std::max<int64_t>(step, 1));  // the first makes none
  values[0] = step > 0 ? 1 : 0;
  values[1] = 1 - std::pow(soap.beta1, updates);
  values[2] = 1 - std::pow(soap.beta2, updates);
}

/// The parameter's array x as it is in the eigenbases, and the way back.
NamedArray turn(NamedArray x, const nn::Param& param, std::span<const Side> sides,
                std::span<const NamedArray> bases) {
  if (sides.empty()) return x;
  x = to_matrices(x, param);
  for (size_t i = 0; i < sides.size(); ++i) x = multiply_transposed(bases[i], x, sides[i]);
  return from_matrices(x, param);
}
NamedArray turn_back(NamedArray x, const nn::Param& param, std::span<const Side> sides,
                     std::span<const NamedArray> bases) {
  if (sides.empty()) return x;
  x = to_matrices(x, param);
  for (size_t i = 0; i < sides.size(); ++i) x = multiply(bases[i], x, sides[i]);
  return from_matrices(x, param);
}

/// What the optimizer keeps itself: a mean of the weights may follow.
std::vector<NamedArray> own_state(const Before& before, std::span<const Side> sides) {
  return {before.state.begin(), before.state.begin() + static_cast<int64_t>(mean_of(sides.size()))};
}

std::vector<NamedArray> bases_of(const Before& before, std::span<const Side> sides) {
  std::vector<NamedArray> bases;
  for (size_t i = 0; i < sides.size(); ++i) bases.push_back(before.state[basis_of(i)]);
  return bases;
}

bool is_first(const OptimizerConfig&, int64_t step) { return step == 0; }

/// The eigenbases of the first gradient G. That of the longer axis follows from that of the shorter
/// one: with G = U S V^T it is the orthonormal factor of G^T U = V S, filled up with zeros, and so
/// costs no eigendecomposition of its own.
std::vector<NamedArray> begin(const OptimizerConfig& config, const nn::Param& param,
                              const Before& before, const Step& step) {
  const auto sides = turned_sides(dynamic_cast<const SoapConfig&>(config), param);
  std::vector<NamedArray> state = own_state(before, sides);
  if (sides.empty()) return state;
  const NamedArray g = to_matrices(before.grad * step.clip, param);
  const Side& shorter = sides[0];
  const NamedArray basis =
      eigh(gram(g, shorter, stack_of(param)), shorter.other, shorter.axis.name).vectors;
  state[basis_of(0)] = basis;
  if (sides.size() == 1) return state;
  const Side& longer = sides[1];
  NamedArray x = multiply_transposed(basis, g, shorter);
  x = rename(rename(x, longer.axis.name, longer.other), shorter.axis.name, longer.axis.name);
  if (const int64_t missing = longer.axis.size - shorter.axis.size; missing > 0) {
    const Axes axes = replace(x.axes(), longer.axis.name, {{longer.axis.name, missing}});
    const NamedArray zeros = broadcast(constant(x.graph(), 0, x.dtype()), axes);
    const NamedArray parts[] = {x, zeros};
    x = concat(parts, longer.axis.name);
  }
  state[basis_of(1)] =
      transpose(qr(x, longer.other, longer.axis.name), before.state[basis_of(1)].axes());
  return state;
}

/// What a step had been due after is done before the next one.
bool due(const OptimizerConfig& config, int64_t step) {
  const int64_t every = dynamic_cast<const SoapConfig&>(config).precondition_frequency;
  return step > 1 && (step - 1) % every == 0;
}

/// The eigenbases turned: their vectors in the order of their Rayleigh quotients, then one power
/// iteration. The mean of the squares goes with the order, that of the gradient is turned too.
std::vector<NamedArray> refresh(const OptimizerConfig& config, const nn::Param& param,
                                const Before& before, const Step&) {
  const auto sides = turned_sides(dynamic_cast<const SoapConfig&>(config), param);
  std::vector<NamedArray> state = own_state(before, sides);
  const std::vector<NamedArray> old = bases_of(before, sides);
  std::vector<NamedArray> bases;
  NamedArray squares = to_matrices(before.state[1], param);
  const Axes axes = squares.axes();
  for (size_t i = 0; i < sides.size(); ++i) {
    const Side& side = sides[i];
    const AxisName name = side.axis.name;
    const NamedArray mean = before.state[mean_of(i)];
    const NamedArray left = rename(mean, name, "summed");
    const NamedArray right = rename(old[i], side.other, "summed");
    const NamedArray product = dot(left, right, old[i].axes());
    const NamedArray quotients = sum(product * old[i], {{side.other, side.axis.size}});
    const NamedArray order = top_k(quotients, name, {"place", side.axis.size});
    const auto sorted = [&](NamedArray x) { return rename(gather(x, name, order), "place", name); };
    bases.push_back(transpose(qr(sorted(product), side.other, name), old[i].axes()));
    state[basis_of(i)] = bases.back();
    squares = sorted(squares);
  }
  if (sides.empty()) return state;
  state[0] = turn(turn_back(before.state[0], param, sides, old), param, sides, bases);
  state[1] = from_matrices(transpose(squares, axes), param);
  return state;
}

After update(const OptimizerConfig& config, const nn::Param& param, const Before& before,
             const Step& step) {
  const auto& c = dynamic_cast<const SoapConfig&>(config);
  const std::vector<Side> sides = turned_sides(c, param);
  const std::vector<NamedArray> bases = bases_of(before, sides);
  const NamedArray begun = step.own[0], correction1 = step.own[1], correction2 = step.own[2];
  const NamedArray g = before.grad * step.clip;
  const NamedArray turned = turn(g, param, sides, bases);
  const NamedArray m = mix(before.state[0], turned, 1 - c.beta1);
  const NamedArray v = mix(before.state[1], turned * turned, 1 - c.beta2);
  const NamedArray direction = (m / correction1) / (sqrt(v / correction2) + c.epsilon);
  std::vector<NamedArray> state = own_state(before, sides);
  state[0] = select(begun, m, before.state[0]);
  state[1] = select(begun, v, before.state[1]);
  for (size_t i = 0; i < sides.size(); ++i) {
    const NamedArray now = gram(to_matrices(g, param), sides[i], stack_of(param));
    state[mean_of(i)] = mix(before.state[mean_of(i)], now, 1 - c.shampoo_beta);
  }
  After after = descend(config, before, step, turn_back(direction, param, sides, bases), state);
  after.param = select(begun, after.param, before.param);
  return after;
}

constexpr Refresh kRefreshes[] = {
    {.by = Refresh::By::kFirstGradient, .due = is_first, .state = begin},
    {.by = Refresh::By::kGradient, .due = due, .state = refresh}};

}  // namespace

extern const OptimizerEntry soap_entry;
const OptimizerEntry soap_entry = {
    .name = "soap",
    .summary = "SOAP: Adam in the eigenbases of Shampoo's factors (Vyas et al. 2024)",
    .make_config = config::make_choice<SoapConfig>,
    .state = state,
    .scalar_names = kScalars,
    .scalars = scalars,
    .update = update,
    .refreshes = kRefreshes};

}  // namespace levanter::optim
