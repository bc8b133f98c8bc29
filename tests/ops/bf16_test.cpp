// The types that ops give for bf16 operands, and their gradients beside those in f64.
#include "base/bf16.h"
#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// A gradient is rounded to bf16 (2^-9 relative) at each op that it passes; a wrong rule is off by
/// far more. Relative to the largest element.
constexpr double kBf16GradientTolerance = 0.02;

const Axis kBatch{"batch", 2}, kPosition{"position", 4}, kEmbed{"embed", 6}, kHead{"kv_head", 2},
    kHeadDim{"head_dim", 3}, kKey{"key_position", 4}, kVocab{"vocab", 7};

/// Values that bf16 holds, so that both precisions begin with the same.
Array narrow(const Axes& axes, uint32_t seed) {
  Array x = random_array({DType::bf16, axes}, seed);
  for (double& v : x.values) v = Bf16(static_cast<float>(v));
  return x;
}
Array wide(const Axes& axes, uint32_t seed) {
  return {{DType::f32, axes}, random_array({DType::f32, axes}, seed).values};
}

std::vector<DType> types_of(const Build& build, const std::vector<Array>& inputs) {
  const Function f = trace(build, inputs, DType::f32);
  std::vector<DType> types;
  for (const Result& result : f.results) types.push_back(f.graph.type(result.value).dtype);
  return types;
}

/// The largest error of the gradients with bf16 operands; INFINITY when one has another type than
/// its operand.
double bf16_gradient_error(const Build& build, const std::vector<Array>& inputs) {
  const auto backend = make_backend("reference");
  const Build differentiated = [&](const std::vector<NamedArray>& in) {
    std::vector<NamedArray> wrt;
    for (const NamedArray& x : in)
      if (is_float(x.dtype())) wrt.push_back(x);
    NamedArray loss;
    for (const NamedArray& y : build(in)) {
      const NamedArray s = weighted_sum({cast(y, widened(y.dtype()))});
      loss = loss ? loss + s : s;
    }
    return backprop(loss, wrt);
  };
  std::vector<Array> exact_inputs = inputs;
  for (Array& x : exact_inputs)
    if (is_float(x.type.dtype)) x.type.dtype = DType::f64;
  const auto found = evaluate(differentiated, inputs, *backend, DType::f32);
  const auto exact = evaluate(differentiated, exact_inputs, *backend, DType::f64);
  double worst = 0;
  size_t i = 0;
  for (const Array& x : inputs) {
    if (!is_float(x.type.dtype)) continue;
    if (found[i].type.dtype != x.type.dtype) return INFINITY;
    worst = std::max(worst, difference(found[i], exact[i], 0.1));
    ++i;
  }
  return worst;
}

}  // namespace

TEST_CASE("sums and products of bf16 are f32", "[ops]") {
  const std::vector<Array> in = {narrow({kBatch, kEmbed}, 1), narrow({kEmbed, kVocab}, 2),
                                 wide({kBatch, kVocab}, 3)};
  CHECK(types_of(
            [](const auto& x) {
              return std::vector{sum(x[0], {kEmbed}), mean(x[0], {kEmbed}),
                                 reduce(Reduce::kMax, x[0], {kEmbed}),
                                 dot(x[0], x[1], {kBatch, kVocab}), dot_add(x[2], x[0], x[1])};
            },
            in) == std::vector<DType>(5, DType::f32));
}

TEST_CASE("elementwise ops, composites and moves of bf16 give bf16", "[ops]") {
  const std::vector<Array> in = {narrow({kBatch, kEmbed}, 1), random_keys({kBatch}, 2),
                                 random_ids({kBatch}, 6, 3), wide({kEmbed}, 4)};
  CHECK(types_of(
            [](const auto& x) {
              return std::vector{x[0] + x[0],
                                 x[0] * 0.5,
                                 exp(x[0]),
                                 gelu(x[0], Gelu::kErf),
                                 softmax(x[0], "embed"),
                                 dropout(x[0], x[1], 0.5),
                                 gather(x[0], "embed", x[2]),
                                 layer_norm(x[0], x[3], x[3], 1e-5),
                                 copy(x[0]),
                                 broadcast(x[0], {kBatch, kEmbed, kVocab})};
            },
            in) == std::vector<DType>(10, DType::bf16));
}

TEST_CASE("what mixes types, or would add in bf16, is refused", "[ops]") {
  const std::vector<Array> in = {narrow({kBatch, kEmbed}, 1), wide({kBatch, kEmbed}, 2),
                                 random_ids({kBatch}, 6, 3), narrow({kEmbed}, 4),
                                 narrow({kBatch}, 5)};
  const auto error = [&](auto build) {
    return trace_error([&](const auto& x) { return std::vector<NamedArray>{build(x)}; }, in);
  };
  using Inputs = std::vector<NamedArray>;
  for (const std::string& text :
       {error([](const Inputs& x) { return x[0] + x[1]; }),
        error([](const Inputs& x) { return dot(x[0], x[1], {kBatch}); }),
        error([](const Inputs& x) { return dot_add(x[4], x[0], x[3]); }),
        error([](const Inputs& x) { return scatter_add(x[4], {kEmbed}, "embed", x[2]); }),
        error([](const Inputs& x) { return layer_norm(x[0], x[3], NamedArray(), 1e-5); }),
        error([](const Inputs& x) { return layer_norm(x[1], x[3], NamedArray(), 1e-5); }),
        error([](const Inputs& x) { return sum_squares(x[0], "embed"); }),
        error([](const Inputs& x) { return uniform(cast(x[2], DType::u32), DType::bf16); })})
    CHECK_FALSE(text.empty());
}

TEST_CASE("gradients of elementwise ops and reductions of bf16 are f64's but for rounding",
          "[ops]") {
  for (const Map opcode : {Map::kNeg, Map::kExp, Map::kTanh, Map::kSigmoid, Map::kErf})
    CHECK(bf16_gradient_error([&](const auto& x) { return std::vector{map(opcode, x[0])}; },
                              {narrow({kBatch, kEmbed}, 1)}) < kBf16GradientTolerance);
  for (const Map opcode : {Map::kAdd, Map::kSub, Map::kMul, Map::kMax, Map::kMin})
    CHECK(bf16_gradient_error([&](const auto& x) { return std::vector{map(opcode, x[0], x[1])}; },
                              {narrow({kBatch, kEmbed}, 1), narrow({kEmbed}, 2)}) <
          kBf16GradientTolerance);
  for (const Reduce kind : {Reduce::kSum, Reduce::kMax, Reduce::kMin})
    CHECK(bf16_gradient_error(
              [&](const auto& x) { return std::vector{reduce(kind, x[0], {kEmbed})}; },
              {narrow({kBatch, kEmbed}, 1)}) < kBf16GradientTolerance);
}

TEST_CASE("gradients of products, gathers and composites of bf16 are f64's but for rounding",
          "[ops]") {
  CHECK(bf16_gradient_error(
            [](const auto& x) {
              return std::vector{dot(x[0], x[1], {kBatch, kVocab})};
            },
            {narrow({kBatch, kEmbed}, 1), narrow({kEmbed, kVocab}, 2)}) < kBf16GradientTolerance);
  CHECK(bf16_gradient_error([](const auto& x) { return std::vector{gather(x[0], "vocab", x[1])}; },
                            {narrow({kVocab, kEmbed}, 1), random_ids({kBatch}, 7, 2)}) <
        kBf16GradientTolerance);
  CHECK(bf16_gradient_error(
            [](const auto& x) {
              return std::vector{gelu(x[0], Gelu::kTanh), softmax(x[0], "embed"),
                                 dropout(x[0], x[1], 0.5)};
            },
            {narrow({kBatch, kEmbed}, 1), random_keys({kBatch}, 2)}) < kBf16GradientTolerance);
  CHECK(bf16_gradient_error(
            [](const auto& x) { return std::vector{layer_norm(x[0], x[1], x[2], 1e-5)}; },
            {narrow({kBatch, kEmbed}, 1), wide({kEmbed}, 2), wide({kEmbed}, 3)}) <
        kBf16GradientTolerance);
}

TEST_CASE("gradients of attention and of the loss in bf16 are f64's but for rounding", "[ops]") {
  const Axes q{kBatch, kPosition, kHead, kHeadDim}, k{kBatch, kKey, kHead, kHeadDim};
  CHECK(bf16_gradient_error(
            [](const auto& x) { return std::vector{attention(x[0], x[1], x[2], {})}; },
            {narrow(q, 1), narrow(k, 2), narrow(k, 3)}) < kBf16GradientTolerance);
  const Axes tokens{kBatch, kPosition};
  CHECK(bf16_gradient_error(
            [](const auto& x) { return std::vector{linear_xent(x[0], x[1], x[2], x[3]).loss}; },
            {narrow({kBatch, kPosition, kEmbed}, 1), narrow({kVocab, kEmbed}, 2),
             random_ids(tokens, 7, 3), wide(tokens, 4)}) < kBf16GradientTolerance);
}
