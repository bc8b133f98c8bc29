// AdamW as the update function applies it, against plain loops in f64.
#include <cmath>

#include "optim/adam_config.h"
#include "optim/optimizer.h"
#include "passes/passes.h"
#include "support/checks.h"
#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// f64 in another order of operations.
constexpr double kTolerance = 1e-12;

struct Numbers {
  std::vector<double> p, g, m, v;
};

/// The formula of Loshchilov & Hutter, element by element.
void plain_step(Numbers& n, const AdamConfig& c, int64_t step, double lr, double scale,
                double decay) {
  const double t = static_cast<double>(step + 1);
  for (size_t i = 0; i < n.p.size(); ++i) {
    const double g = n.g[i] * scale;
    n.m[i] = c.beta1 * n.m[i] + (1 - c.beta1) * g;
    n.v[i] = c.beta2 * n.v[i] + (1 - c.beta2) * g * g;
    const double m = n.m[i] / (1 - std::pow(c.beta1, t)), v = n.v[i] / (1 - std::pow(c.beta2, t));
    n.p[i] -= lr * (m / (std::sqrt(v) + c.epsilon) + decay * n.p[i]);
  }
}

/// A model's parameters before a step, in f64, in the order of trace_update's arguments.
struct Update {
  Update(const Gpt2Config& m, const AdamConfig& a, uint32_t seed)
      : adam(a),
        function(train::trace_update({models::entry("gpt2"), m},
                                     {1, m.max_seq_len, kVocab, DType::f64},
                                     optim::Assignment(optim::entry("adam"), adam))),
        params(infer::trace_params({models::entry("gpt2"), m},
                                   {1, m.max_seq_len, kVocab, DType::f64})) {
    for (const nn::Param& param : params) {
      Numbers n;
      n.p = random_array(param.type, ++seed).values;
      n.g = random_array(param.type, ++seed).values;
      n.m = random_array(param.type, ++seed).values;
      n.v = random_array(param.type, ++seed, 1).values;
      for (double& x : n.v) x *= x;
      numbers.push_back(std::move(n));
    }
  }

  double norm() const {
    double squares = 0;
    for (const Numbers& n : numbers)
      for (const double g : n.g) squares += g * g;
    return std::sqrt(squares);
  }

  std::vector<Array> run(int64_t step, double lr, double loss) const {
    std::vector<Array> inputs;
    for (size_t i = 0; i < params.size(); ++i) inputs.push_back({params[i].type, numbers[i].p});
    for (size_t i = 0; i < params.size(); ++i) inputs.push_back({params[i].type, numbers[i].g});
    for (size_t i = 0; i < params.size(); ++i) {
      inputs.push_back({params[i].type, numbers[i].m});
      inputs.push_back({params[i].type, numbers[i].v});
    }
    std::vector<double> scalars(2);
    optim::entry("adam").scalars(adam, step, scalars);
    for (const double x : {loss, lr, scalars[0], scalars[1]})
      inputs.push_back({{DType::f64, {}}, {x}});
    return testing::run(decompose(duplicate(function), *reference), inputs, *reference);
  }

  const AdamConfig& adam;
  Function function;
  std::vector<nn::Param> params;
  std::vector<Numbers> numbers;
  std::unique_ptr<Backend> reference = make_backend("reference");
};

/// The largest difference of the update's results from the plain loops.
double error_of(const AdamConfig& adam, int64_t step, double lr, const std::vector<double>& decay) {
  Update update(tiny_model(), adam, 100);
  const double norm = update.norm();
  const double scale =
      adam.max_grad_norm && norm >= *adam.max_grad_norm ? *adam.max_grad_norm / norm : 1;
  const std::vector<Array> found = update.run(step, lr, 2.5);
  const size_t count = update.params.size();
  double worst = std::abs(found[3 * count].values[0] - norm) / norm;
  if (found[3 * count + 1].values[0] != 1) return INFINITY;
  for (size_t i = 0; i < count; ++i) {
    Numbers& n = update.numbers[i];
    plain_step(n, adam, step, lr, scale, decay[static_cast<size_t>(update.params[i].role)]);
    const Type& type = update.params[i].type;
    worst = std::max({worst, difference(found[i], {type, n.p}),
                      difference(found[count + 2 * i], {type, n.m}),
                      difference(found[count + 2 * i + 1], {type, n.v})});
  }
  return worst;
}

}  // namespace

TEST_CASE("the update is AdamW's formula on every parameter", "[optim]") {
  AdamConfig adam;
  adam.max_grad_norm = std::nullopt;
  CHECK(error_of(adam, 0, 1e-2, {0.1, 0, 0, 0}) <= kTolerance);
  CHECK(error_of(adam, 41, 0.3, {0.1, 0, 0, 0}) <= kTolerance);
  adam.beta1 = 0.6;
  adam.beta2 = 0.999;
  adam.epsilon = 1e-2;
  adam.weight_decay = 0.5;
  CHECK(error_of(adam, 3, 1e-2, {0.5, 0, 0, 0}) <= kTolerance);
  adam.beta1 = adam.beta2 = 0;
  CHECK(error_of(adam, 3, 1e-2, {0.5, 0, 0, 0}) <= kTolerance);
}

TEST_CASE("gradients are scaled down together to max_grad_norm, and never up", "[optim]") {
  AdamConfig adam;
  for (const double most : {1e-3, 1.0, 1e6}) {
    adam.max_grad_norm = most;
    CHECK(error_of(adam, 2, 1e-2, {0.1, 0, 0, 0}) <= kTolerance);
  }
}

TEST_CASE("only parameters of the roles in decay_roles decay", "[optim]") {
  AdamConfig adam;
  adam.weight_decay = 0.3;
  adam.decay_roles = {"embedding", "bias"};
  CHECK(error_of(adam, 2, 0.1, {0, 0.3, 0, 0.3}) <= kTolerance);
  adam.decay_roles = {"norm"};
  CHECK(error_of(adam, 2, 0.1, {0, 0, 0.3, 0}) <= kTolerance);
  adam.decay_roles = {};
  CHECK(error_of(adam, 2, 0.1, {0, 0, 0, 0}) <= kTolerance);
  CHECK(error_of(adam, 2, 0.1, {0.3, 0, 0, 0}) > 1e-3);
}

TEST_CASE("a loss or norm that is not finite keeps parameters and state", "[optim]") {
  const AdamConfig adam;
  const double infinite = INFINITY;
  for (const double loss : {std::nan(""), infinite, -infinite, 1.0}) {
    Update update(tiny_model(), adam, 100);
    if (loss == 1.0) update.numbers[3].g[5] = NAN;
    const std::vector<Array> found = update.run(4, 1e-2, loss);
    const size_t count = update.params.size();
    CHECK(found[3 * count + 1].values[0] == 0);
    for (size_t i = 0; i < count; ++i) {
      CHECK(found[i].values == update.numbers[i].p);
      CHECK(found[count + 2 * i].values == update.numbers[i].m);
      CHECK(found[count + 2 * i + 1].values == update.numbers[i].v);
    }
  }
}

TEST_CASE("Adam's corrections grow from 1 - beta to 1 with the step", "[optim]") {
  AdamConfig adam;
  adam.beta1 = 0.9;
  adam.beta2 = 0.99;
  std::vector<double> scalars(2);
  optim::entry("adam").scalars(adam, 0, scalars);
  CHECK(scalars[0] == Approx(0.1).epsilon(kTolerance));
  CHECK(scalars[1] == Approx(0.01).epsilon(kTolerance));
  optim::entry("adam").scalars(adam, 9, scalars);
  CHECK(scalars[0] == Approx(1 - std::pow(0.9, 10)).epsilon(kTolerance));
  optim::entry("adam").scalars(adam, 1'000'000, scalars);
  CHECK(scalars[0] == 1);
  CHECK(scalars[1] == 1);
}
