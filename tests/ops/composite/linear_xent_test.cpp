#include <cmath>

#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr LinearXentOptions kPlainOptions = {};
constexpr LinearXentOptions kAllOptions[] = {{},
                                             {.z_loss = 0.3},
                                             {.soft_cap = 1.2},
                                             {.z_loss = 0.2, .soft_cap = 0.7},
                                             {.z_loss = 0.2, .soft_cap = 0.7, .scaled_only = true}};

Build loss_of(const LinearXentOptions& options) {
  return [options](const auto& in) {
    return std::vector{linear_xent(in[0], in[1], in[2], in[3], options).loss};
  };
}
Build both_of(const LinearXentOptions& options) {
  return [options](const auto& in) {
    const LinearXent out = linear_xent(in[0], in[1], in[2], in[3], options);
    return std::vector{out.loss, out.token_loss};
  };
}
const Build kLoss = loss_of(kPlainOptions), kBoth = both_of(kPlainOptions);
/// The definition, with the full logits.
Build plain(const LinearXentOptions& options) {
  return [options](const auto& in) {
    const Axis vocab{"vocab", in[1].axes().size_of("vocab")};
    Axes axes = in[2].axes();
    axes.push_back(vocab);
    NamedArray logits = dot(in[0], in[1], axes);
    if (options.soft_cap > 0) logits = tanh(logits / options.soft_cap) * options.soft_cap;
    const NamedArray lse = log(sum(exp(logits), {vocab}));
    const NamedArray token_loss = lse - gather(logits, "vocab", in[2]);
    return std::vector{sum((token_loss + lse * lse * options.z_loss) * in[3], in[2].axes())};
  };
}

struct Case {
  const char* name;
  Axes h, weight, targets;
};

const std::vector<Case> kCases = {
    {"a batch of sequences",
     {{"batch", 2}, {"position", 3}, {"embed", 4}},
     {{"vocab", 5}, {"embed", 4}},
     {{"batch", 2}, {"position", 3}}},
    {"the weight turned",
     {{"position", 3}, {"embed", 2}},
     {{"embed", 2}, {"vocab", 7}},
     {{"position", 3}}},
    {"embed first",
     {{"embed", 2}, {"position", 3}},
     {{"vocab", 3}, {"embed", 2}},
     {{"position", 3}}},
    {"one token", {{"embed", 3}}, {{"vocab", 2}, {"embed", 3}}, {}},
    {"a vocabulary of one",
     {{"position", 2}, {"embed", 3}},
     {{"vocab", 1}, {"embed", 3}},
     {{"position", 2}}},
};

std::vector<Array> operands(const Case& c) {
  return {random_real(c.h, 1), random_real(c.weight, 2),
          random_ids(c.targets, c.weight.size_of("vocab"), 3), positive(c.targets, 4)};
}

}  // namespace

TEST_CASE("linear_xent's gradients are those of central differences", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    for (const LinearXentOptions& options : kAllOptions)
      CHECK(worst_gradient_error(loss_of(options), operands(c)) < kGradientTolerance);
  }
}

TEST_CASE("linear_xent's own rule agrees with backprop through the full logits", "[ops]") {
  for (const Case& c : kCases)
    for (const size_t which : {0, 1, 3}) {
      INFO(c.name);
      for (const LinearXentOptions& options : kAllOptions)
        CHECK(rule_difference(loss_of(options), plain(options), operands(c), which) <
              kRoundingTolerance);
    }
}

TEST_CASE("a cotangent other than 1 scales linear_xent's gradients", "[ops]") {
  const Build f = [](const auto& in) {
    const NamedArray loss = linear_xent(in[0], in[1], in[2], in[3]).loss;
    return std::vector{loss * loss * -3.0};
  };
  CHECK(worst_gradient_error(f, operands(kCases[0])) < kGradientTolerance);
}

TEST_CASE("linear_xent takes the values of its formula", "[ops]") {
  for (const Case& c : kCases)
    for (const LinearXentOptions& options : kAllOptions) {
      INFO(c.name);
      const auto in = operands(c);
      const auto embed = indices({{"embed", c.h.size_of("embed")}});
      double loss = 0;
      const Array token_loss = looped(c.targets, [&](const auto& token) {
        double total = 0, target = 0;
        for (const auto& word : indices({{"vocab", c.weight.size_of("vocab")}})) {
          double logit = 0;
          for (const auto& e : embed) logit += at(in[0], join(token, e)) * at(in[1], join(word, e));
          if (options.soft_cap > 0) logit = options.soft_cap * std::tanh(logit / options.soft_cap);
          total += std::exp(logit);
          if (static_cast<double>(word[0].at) == at(in[2], token)) target = logit;
        }
        const double lse = std::log(total);
        loss += (lse - target + options.z_loss * lse * lse) * at(in[3], token);
        return lse - target;
      });
      const auto y = evaluate(both_of(options), in);
      CHECK(std::abs(y[0].values[0] - loss) < kRoundingTolerance);
      CHECK(difference(y[1], token_loss) < kRoundingTolerance);
    }
}

TEST_CASE("losses of other options keep their own gradients beside one another", "[ops]") {
  const auto in = operands(kCases[0]);
  const auto gradient_of = [](const LinearXentOptions& options) {
    return [options](const auto& x) {
      const NamedArray wrt[] = {x[0]};
      return backprop(linear_xent(x[0], x[1], x[2], x[3], options).loss, wrt)[0];
    };
  };
  const Build together = [&](const auto& x) {
    return std::vector{linear_xent(x[0], x[1], x[2], x[3]).loss, gradient_of({.z_loss = 0.3})(x),
                       gradient_of({.soft_cap = 1.2})(x)};
  };
  const auto all = evaluate(together, in, DType::f32);
  const auto alone = [&](const Build& build) { return evaluate(build, in, DType::f32)[0]; };
  CHECK(same_bits({all[0]}, {alone(kLoss)}));
  CHECK(same_bits({all[1]}, {alone([&](const auto& x) {
                    return std::vector{gradient_of({.z_loss = 0.3})(x)};
                  })}));
  CHECK(same_bits({all[2]}, {alone([&](const auto& x) {
                    return std::vector{gradient_of({.soft_cap = 1.2})(x)};
                  })}));
}

TEST_CASE("large logits do not overflow linear_xent", "[ops]") {
  const Array h = array({{"position", 1}, {"embed", 1}}, {1000}),
              weight = array({{"vocab", 2}, {"embed", 1}}, {1, -1}),
              scale = array({{"position", 1}}, {1});
  CHECK(evaluate(kLoss, {h, weight, ids({{"position", 1}}, {1}), scale})[0].values[0] == 2000);
  CHECK(evaluate(kLoss, {h, weight, ids({{"position", 1}}, {0}), scale})[0].values[0] == 0);
}

TEST_CASE("a token of scale 0 adds nothing to the loss and to the gradients", "[ops]") {
  auto in = operands(kCases[0]);
  in[3].values = {0, 0, 0, 0, 0, 0};
  CHECK(evaluate(kLoss, in)[0].values[0] == 0);
  const auto backend = make_backend("reference");
  for (const double g : gradient(kLoss, in, 1, *backend).values) CHECK(g == 0);
}

TEST_CASE("the loss and its gradients have the same bits asked for alone and together", "[ops]") {
  const auto in = operands(kCases[0]);
  const Build together = [](const auto& x) {
    const LinearXent out = linear_xent(x[0], x[1], x[2], x[3]);
    const NamedArray wrt[] = {x[0], x[1]};
    auto results = backprop(out.loss, wrt);
    results.insert(results.end(), {out.loss, out.token_loss});
    return results;
  };
  const auto all = evaluate(together, in, DType::f32), values = evaluate(kBoth, in, DType::f32);
  CHECK(same_bits({all[2], all[3]}, values));
}

TEST_CASE("a function of the token losses has the gradients of central differences", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    for (const LinearXentOptions& options : kAllOptions) {
      const Build squares = [&](const auto& in) {
        const NamedArray each = linear_xent(in[0], in[1], in[2], in[3], options).token_loss;
        return std::vector{sum(each * each * in[3], in[2].axes())};
      };
      CHECK(worst_gradient_error(squares, operands(c)) < kGradientTolerance);
      // The loss itself beside them.
      CHECK(worst_gradient_error(both_of(options), operands(c)) < kGradientTolerance);
    }
  }
}

TEST_CASE("token losses that count as much as their scale have the loss's gradients", "[ops]") {
  const Build weighted = [](const auto& in) {
    const NamedArray each = linear_xent(in[0], in[1], in[2], in[3]).token_loss;
    return std::vector{sum(each * in[3], in[2].axes())};
  };
  for (const Case& c : kCases)
    for (const size_t which : {0, 1, 3}) {
      INFO(c.name);
      CHECK(rule_difference(weighted, kLoss, operands(c), which) < kRoundingTolerance);
    }
}

TEST_CASE("token losses of scaled tokens alone are 0 elsewhere, and so are their gradients",
          "[ops]") {
  const LinearXentOptions scaled = {.scaled_only = true};
  auto in = operands(kCases[0]);
  in[3].values = {0, 0.5, 0, 1, 2, 0};
  const auto all = evaluate(both_of({}), in), some = evaluate(both_of(scaled), in);
  CHECK(same_bits({all[0]}, {some[0]}));
  for (size_t i = 0; i < in[3].values.size(); ++i)
    CHECK(some[1].values[i] == (in[3].values[i] == 0 ? 0 : all[1].values[i]));
  // Of the tokens whose targets are below 3.
  const Build squares = [&](const auto& x) {
    const NamedArray scale =
        cast(map(Map::kLess, x[2], constant(x[2].graph(), 3, DType::i32)), x[0].dtype());
    const NamedArray each = linear_xent(x[0], x[1], x[2], scale, scaled).token_loss;
    return std::vector{sum(each * each * 0.5 - each, x[2].axes())};
  };
  // Both results, with z-loss; a scale of 0 has no gradient.
  const Build both = [](const auto& x) {
    const LinearXent out =
        linear_xent(x[0], x[1], x[2], x[3], {.z_loss = 0.2, .scaled_only = true});
    return std::vector{out.loss + sum(out.token_loss * out.token_loss, x[2].axes())};
  };
  const auto backend = make_backend("reference");
  const Array of_scale = gradient(both, in, 3, *backend);
  for (size_t i = 0; i < in[3].values.size(); ++i)
    CHECK((of_scale.values[i] == 0) == (in[3].values[i] == 0));
  for (const size_t which : {0, 1}) CHECK(gradient_error(both, in, which) < kGradientTolerance);
  in.pop_back();
  in[2].values = {0, 4, 2, 3, 1, 3};
  CHECK(worst_gradient_error(squares, in) < kGradientTolerance);
}

TEST_CASE("linear_xent refuses operands that do not fit", "[ops]") {
  const auto in = operands(kCases[0]);
  const auto with = [&](size_t i, const Array& other) {
    auto changed = in;
    changed[i] = other;
    return trace_error(kLoss, changed);
  };
  CHECK_THAT(with(1, random_real({{"words", 5}, {"embed", 4}}, 1)),
             Catch::Contains("linear_xent: the weight has no axis vocab"));
  CHECK_THAT(with(1, random_real({{"vocab", 5}, {"embed", 3}}, 1)),
             Catch::Contains("h lacks an axis of the weight"));
  CHECK_THAT(with(2, random_ids({{"batch", 2}}, 5, 1)),
             Catch::Contains("targets are not one a row of h"));
  CHECK_THAT(with(2, random_real({{"batch", 2}, {"position", 3}}, 1)),
             Catch::Contains("targets are not i32"));
  CHECK_THAT(with(3, random_real({{"batch", 2}}, 1)),
             Catch::Contains("token_scale is not one a token"));
  CHECK_THAT(trace_error(loss_of({.soft_cap = -1}), in),
             Catch::Contains("z_loss or the soft cap is below 0"));
}
