// The CPU backend: its fused kernels against the decompositions in f64 on the reference backend, in
// every layout that operands come in, with the same bits for any number of threads.
#include <algorithm>
#include <cmath>
#include <functional>

#include "device/backends.h"
#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

// Relative to the largest element of a result, at least kSmallest.
constexpr double kSmallest = 0.05;
constexpr double kElementwiseTolerance = 1e-6;
constexpr double kNormTolerance = 3e-6;
constexpr double kProductTolerance = 2e-6;
constexpr double kReductionTolerance = 1e-6;
constexpr double kLongSumTolerance = 5e-6;  // hundreds of thousands of terms of either sign
constexpr double kAttentionTolerance = 5e-6;
constexpr double kCrossEntropyTolerance = 3e-6;

/// How an operand lies in the array that is passed in.
enum class Layout { kPlain, kReversed, kCutFirst, kCutLast };
constexpr Layout kLayouts[] = {Layout::kPlain, Layout::kReversed, Layout::kCutFirst,
                               Layout::kCutLast};

/// The axes of the array of which an operand is a view.
Axes stored(const Axes& axes, Layout layout) {
  if (axes.empty()) return axes;
  std::vector<Axis> out(axes.begin(), axes.end());
  if (layout == Layout::kReversed) std::reverse(out.begin(), out.end());
  if (layout == Layout::kCutFirst) out.front().size += 1;
  if (layout == Layout::kCutLast) out.back().size += 2;
  return Axes(out);
}

NamedArray seen(NamedArray x, const Axes& axes, Layout layout) {
  if (axes.empty() || layout == Layout::kPlain) return x;
  if (layout == Layout::kReversed) return transpose(x, axes);
  const bool first = layout == Layout::kCutFirst;
  const Axis& axis = axes[first ? 0 : axes.size() - 1];
  const int64_t sizes[] = {first ? 1 : 2, axis.size};
  return partition(x, axis.name, sizes)[1];
}

enum class Kind { kReal, kPositive, kIds, kKeys };
struct OperandSpec {
  Axes axes;
  Kind kind = Kind::kReal;
  int64_t bound = 2;  ///< of ids
};

Array make_array(const OperandSpec& spec, Layout layout, uint32_t seed) {
  const Axes axes = stored(spec.axes, layout);
  if (spec.kind == Kind::kReal) return random_real(axes, seed);
  if (spec.kind == Kind::kPositive) return positive(axes, seed);
  if (spec.kind == Kind::kIds) return random_ids(axes, spec.bound, seed);
  Array keys = random_ids(axes, int64_t{1} << 32, seed);
  keys.type.dtype = DType::u32;
  return keys;
}

/// One of each number of threads that must not matter.
struct Backends {
  std::unique_ptr<Backend> one = make_backend("cpu", 1), two = make_backend("cpu", 2),
                           five = make_backend("cpu", 5);
};

/// The largest error of `build` on the CPU backend; INFINITY when threads change a bit, or when
/// the function has no node of the op `fused` (if not "").
double cpu_error(const Backends& b, const Build& build, const std::vector<Array>& inputs,
                 const char* fused = "") {
  const Function function = optimise(trace(build, inputs, DType::f32), *b.one);
  if (*fused && count_nodes(function, fused) == 0) return INFINITY;
  const auto found = run(duplicate(function), inputs, *b.one);
  for (const Backend* backend : {b.two.get(), b.five.get()})
    if (!same_bits(found, run(duplicate(function), inputs, *backend))) return INFINITY;
  const auto exact = evaluate(build, inputs, *make_backend("reference"), DType::f64);
  double worst = 0;
  for (size_t i = 0; i < found.size(); ++i)
    worst = std::max(worst, difference(found[i], exact[i], kSmallest));
  return worst;
}

/// cpu_error with every operand in one layout.
double error_in(const Backends& b, Layout layout, const std::vector<OperandSpec>& operands,
                const Build& build, const char* fused = "") {
  std::vector<Array> inputs;
  for (size_t i = 0; i < operands.size(); ++i)
    inputs.push_back(make_array(operands[i], layout, static_cast<uint32_t>(i) + 1));
  const Build viewed = [&](const std::vector<NamedArray>& in) {
    std::vector<NamedArray> views;
    for (size_t i = 0; i < in.size(); ++i) views.push_back(seen(in[i], operands[i].axes, layout));
    return build(views);
  };
  return cpu_error(b, viewed, inputs, fused);
}

/// The largest error over all layouts.
double worst_error(const Backends& b, const std::vector<OperandSpec>& operands, const Build& build,
                   const char* fused = "") {
  double worst = 0;
  for (const Layout layout : kLayouts)
    worst = std::max(worst, error_in(b, layout, operands, build, fused));
  return worst;
}

/// A scalar whose gradient in each output is another number for each element.
NamedArray sum_of_sines(const std::vector<NamedArray>& outputs) {
  NamedArray total;
  for (const NamedArray& y : outputs) {
    const NamedArray sines = map(Map::kSin, y * 2.0 + 0.3);
    const NamedArray s = y.axes().empty() ? sines : sum(sines, y.axes());
    total = total ? total + s : s;
  }
  return total;
}

/// The outputs of `build` and the gradients of a sum over them in every real operand.
Build with_gradients(const Build& build) {
  return [build](const std::vector<NamedArray>& in) {
    std::vector<NamedArray> out = build(in), wrt;
    for (const NamedArray& x : in)
      if (is_float(x.dtype())) wrt.push_back(x);
    const auto gradients = backprop(sum_of_sines(out), wrt);
    out.insert(out.end(), gradients.begin(), gradients.end());
    return out;
  };
}

}  // namespace

TEST_CASE("the cpu backend takes the threads it is given and says what its bits depend on",
          "[device]") {
  CHECK(make_backend("cpu", 3)->threads() == 3);
  CHECK(make_backend("cpu", 0)->threads() >= 1);
  const auto one = make_backend("cpu", 1), five = make_backend("cpu", 5);
  CHECK(one->name() == "cpu");
  CHECK(one->numerics_signature() == five->numerics_signature());
  CHECK_THAT(one->numerics_signature(), Catch::Contains("oneDNN"));
  std::vector<float> to(50'001, 1.5f), from(50'001);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i) * 0.25f;
  five->add(to.data(), from.data(), static_cast<int64_t>(to.size()));
  for (size_t i = 0; i < to.size(); ++i) REQUIRE(to[i] == 1.5f + static_cast<float>(i) * 0.25f);
}

TEST_CASE("elementwise arithmetic takes operands in every layout and broadcast", "[device]") {
  const Backends b;
  const Axes all = {{"batch", 3}, {"position", 5}, {"embed", 7}};
  const std::vector<std::array<Axes, 3>> shapes = {
      {all, all, all},
      {all, Axes{{"embed", 7}}, Axes{}},
      {Axes{}, all, Axes{{"batch", 3}}},
      {Axes{{"position", 5}}, Axes{{"embed", 7}, {"position", 5}}, all},
      {Axes{{"embed", 1}}, Axes{}, Axes{{"embed", 1}}},
  };
  for (int code = 0; code < kMapOpcodes; ++code) {
    const Map opcode = static_cast<Map>(code);
    for (const auto& shape : shapes) {
      std::vector<OperandSpec> operands;
      for (int i = 0; i < arity(opcode); ++i)
        operands.push_back({shape[static_cast<size_t>(i)], Kind::kPositive});
      const Build build = [opcode](const auto& in) {
        if (in.size() == 1) return std::vector{map(opcode, in[0])};
        if (in.size() == 2) return std::vector{map(opcode, in[0], in[1])};
        return std::vector{select(in[0], in[1], in[2])};
      };
      INFO(name_of(opcode) << " of " << to_string(shape[0]));
      CHECK(worst_error(b, operands, build) <= kElementwiseTolerance);
    }
  }
}

TEST_CASE("elementwise functions agree on negative operands and on long arrays", "[device]") {
  const Backends b;
  for (const int64_t n : {1, 7, 16'385, 50'021})
    for (const Map opcode : {Map::kNeg, Map::kAbs, Map::kExp, Map::kTanh, Map::kSigmoid, Map::kErf,
                             Map::kSin, Map::kCos, Map::kNot, Map::kIsFinite}) {
      INFO(name_of(opcode) << " of " << n);
      const Build build = [opcode](const auto& in) { return std::vector{map(opcode, in[0])}; };
      CHECK(error_in(b, Layout::kCutFirst, {{Axes{{"embed", n}}}}, build) <= kElementwiseTolerance);
    }
}

TEST_CASE("a value used twice, and one that is its own operand, may be written over", "[device]") {
  const Backends b;
  const Axes axes = {{"position", 33}, {"embed", 65}};
  const Build build = [](const auto& in) {
    const NamedArray x = exp(in[0]), y = x * x, z = y - in[1];
    return std::vector{z * z + x, tanh(z)};
  };
  CHECK(worst_error(b, {{axes}, {Axes{{"embed", 65}}}}, build) <= kElementwiseTolerance);
}

TEST_CASE("arrays without elements are taken too", "[device]") {
  const Backends b;
  const Axis none{"none", 0}, embed{"embed", 3};
  const Build build = [&](const auto& in) {
    const NamedArray parts[] = {in[0], exp(in[0])};
    return std::vector{in[0] * 2.0,
                       sum(in[0], {none}),
                       sum(in[0], {embed}),
                       dot(in[0], in[0], {embed}),
                       dot_add(in[1], in[0], in[0]),
                       concat(parts, "embed")};
  };
  const Axes axes = {none, embed};
  CHECK(error_in(b, Layout::kPlain, {{axes}, {Axes{embed}}}, build) == 0);
}

TEST_CASE("reductions agree over leading, trailing, middle and all axes", "[device]") {
  const Backends b;
  const std::vector<Axes> shapes = {{{"a", 1}, {"b", 1}, {"c", 1}},
                                    {{"a", 3}, {"b", 5}, {"c", 7}},
                                    {{"a", 131}, {"b", 3}, {"c", 67}},
                                    {{"a", 2}, {"b", 65}, {"c", 4099}}};
  for (const Axes& shape : shapes)
    for (int mask = 1; mask < 8; ++mask)
      for (const Reduce kind : {Reduce::kSum, Reduce::kMax, Reduce::kMin}) {
        Axes over;
        for (size_t i = 3; i-- > 0;)
          if (mask >> i & 1) over.push_back(shape[i]);
        const bool small = shape.elements() < 1000;
        if (!small && kind == Reduce::kMin) continue;
        const Build build = [&](const auto& in) { return std::vector{reduce(kind, in[0], over)}; };
        INFO(to_string(shape) << " over " << to_string(over));
        if (small) CHECK(worst_error(b, {{shape}}, build) <= kReductionTolerance);
        if (!small) CHECK(error_in(b, Layout::kPlain, {{shape}}, build) <= kLongSumTolerance);
      }
}

TEST_CASE("sums of squares agree whichever axis is the shard axis", "[device]") {
  const Backends b;
  const std::vector<Axes> shapes = {{{"a", 1}, {"b", 1}, {"c", 1}},
                                    {{"a", 3}, {"b", 5}, {"c", 7}},
                                    {{"a", 131}, {"b", 3}, {"c", 67}}};
  for (const Axes& shape : shapes)
    for (const Axis& shard : shape) {
      const Build build = [&](const auto& in) {
        return std::vector{sum_squares(in[0], shard.name)};
      };
      INFO(to_string(shape) << " by " << shard.name.text());
      CHECK(worst_error(b, {{shape}}, build, "sum_squares") <= kReductionTolerance);
    }
  const Build scalar = [](const auto& in) { return std::vector{sum_squares(in[0], "embed")}; };
  CHECK(worst_error(b, {{Axes{}}}, scalar, "sum_squares") <= kReductionTolerance);
}

TEST_CASE("products agree for every order of every operand's axes", "[device]") {
  const Backends b;
  std::vector<Axis> a = {{"batch", 2}, {"m", 5}, {"k", 7}}, c = {{"batch", 2}, {"k", 7}, {"n", 3}},
                    out = {{"batch", 2}, {"m", 5}, {"n", 3}};
  const auto by_name = [](const Axis& x, const Axis& y) { return x.name.id() < y.name.id(); };
  for (auto* axes : {&a, &c, &out}) std::sort(axes->begin(), axes->end(), by_name);
  double worst = 0;
  do {
    do {
      do {
        const Build build = [&](const auto& in) {
          return std::vector{dot(in[0], in[1], Axes(out))};
        };
        worst = std::max(worst, error_in(b, Layout::kPlain, {{Axes(a)}, {Axes(c)}}, build, "dot"));
        INFO(to_string(Axes(a)) << to_string(Axes(c)) << to_string(Axes(out)));
        REQUIRE(worst <= kProductTolerance);
      } while (std::next_permutation(out.begin(), out.end(), by_name));
    } while (std::next_permutation(c.begin(), c.end(), by_name));
  } while (std::next_permutation(a.begin(), a.end(), by_name));
}

TEST_CASE("products agree where an operand lacks axes or has several of a kind", "[device]") {
  struct Case {
    const char* name;
    Axes a, b, out;
  };
  const Axis m{"m", 5}, n{"n", 6}, k{"k", 7}, batch{"batch", 3}, one{"one", 1};
  const std::vector<Case> cases = {
      {"inner", {k}, {k}, {}},
      {"outer", {m}, {n}, {m, n}},
      {"outer, turned", {m}, {n}, {n, m}},
      {"matrix and vector", {m, k}, {k}, {m}},
      {"vector and matrix", {k}, {k, n}, {n}},
      {"scalar and vector", {}, {n}, {n}},
      {"a row of one", {one, k}, {k, n}, {one, n}},
      {"a column of one", {m, k}, {one, k}, {m, one}},
      {"a sum of one", {m, one}, {one, n}, {m, n}},
      {"batches of scalars", {batch}, {batch}, {batch}},
      {"batches of vectors", {batch, k}, {k, batch}, {batch}},
      {"two axes each",
       {{"m", 5}, {"m2", 2}, {"k", 7}, {"k2", 3}},
       {{"k", 7}, {"k2", 3}, {"n", 6}},
       {{"m", 5}, {"m2", 2}, {"n", 6}}},
      {"two axes of the sum, apart",
       {{"k2", 3}, {"m", 5}, {"k", 7}},
       {{"k", 7}, {"n", 6}, {"k2", 3}},
       {{"n", 6}, {"m", 5}}},
      {"rows apart in the result",
       {{"m", 5}, {"m2", 2}, {"k", 7}},
       {{"k", 7}, {"n", 6}},
       {{"m", 5}, {"n", 6}, {"m2", 2}}},
      {"two batch axes apart",
       {{"batch", 3}, {"m", 5}, {"heads", 2}, {"k", 7}},
       {{"heads", 2}, {"k", 7}, {"batch", 3}},
       {{"m", 5}, {"heads", 2}, {"batch", 3}}},
  };
  const Backends b;
  for (const Case& c : cases) {
    INFO(c.name);
    const Build product = [&](const auto& in) { return std::vector{dot(in[0], in[1], c.out)}; };
    CHECK(worst_error(b, {{c.a}, {c.b}}, product, "dot") <= kProductTolerance);
    const Build added = [&](const auto& in) { return std::vector{dot_add(in[2], in[0], in[1])}; };
    CHECK(worst_error(b, {{c.a}, {c.b}, {c.out}}, added, "dot_add") <= kProductTolerance);
  }
}

TEST_CASE("a product of a repeated operand agrees", "[device]") {
  const Backends b;
  const Axes wide = {{"m", 5}, {"k", 7}};
  const Build build = [&](const auto& in) {
    return std::vector{
        dot(broadcast(in[0], wide), in[1], {{"m", 5}, {"n", 4}}),
        dot(in[1], broadcast(in[2], Axes{{"k", 7}, {"batch", 3}}), {{"batch", 3}, {"n", 4}})};
  };
  CHECK(worst_error(b, {{Axes{{"k", 7}}}, {Axes{{"k", 7}, {"n", 4}}}, {Axes{{"k", 7}}}}, build,
                    "dot") <= kProductTolerance);
}

TEST_CASE("large products agree in every order, cut into tiles", "[device]") {
  const Backends b;
  const Axis m{"m", 521}, n{"n", 331}, k{"k", 67};
  for (const Axes& a : {Axes{m, k}, Axes{k, m}})
    for (const Axes& c : {Axes{k, n}, Axes{n, k}})
      for (const Axes& out : {Axes{m, n}, Axes{n, m}}) {
        const Build build = [&](const auto& in) {
          return std::vector{dot(in[0], in[1], out), dot_add(in[2], in[0], in[1])};
        };
        INFO(to_string(a) << to_string(c) << to_string(out));
        CHECK(error_in(b, Layout::kCutLast, {{a}, {c}, {out}}, build, "dot") <= kProductTolerance);
      }
}

TEST_CASE("dot_add is the product and then one addition, to the bit", "[device]") {
  const auto backend = make_backend("cpu", 2);
  const Axes out = {{"m", 70}, {"n", 130}};
  std::vector<Array> inputs = {random_real({{"k", 45}, {"m", 70}}, 1),
                               random_real({{"k", 45}, {"n", 130}}, 2), random_real(out, 3)};
  const auto one =
      evaluate([&](const auto& in) { return std::vector{dot_add(in[2], in[0], in[1])}; }, inputs,
               *backend, DType::f32);
  const auto two =
      run(trace([&](const auto& in) { return std::vector{in[2] + dot(in[0], in[1], out)}; }, inputs,
                DType::f32),
          inputs, *backend);
  CHECK(same_bits(one, two));
}

TEST_CASE("gather and scatter_add agree, indices outside included", "[device]") {
  const Backends b;
  struct Case {
    const char* name;
    Axes table, index;
  };
  const std::vector<Case> cases = {
      {"a table", {{"vocab", 11}, {"embed", 5}}, {{"batch", 3}, {"position", 7}}},
      {"one row", {{"vocab", 1}, {"embed", 1}}, {{"position", 1}}},
      {"a vector", {{"vocab", 11}}, {{"position", 6}}},
      {"two axes a row", {{"vocab", 4}, {"heads", 2}, {"head_dim", 3}}, {{"position", 9}}},
      {"the axis last", {{"embed", 5}, {"vocab", 11}}, {{"position", 7}}},
      {"a shared axis", {{"position", 7}, {"vocab", 11}}, {{"batch", 2}, {"position", 7}}},
      {"many rows", {{"vocab", 503}, {"embed", 33}}, {{"position", 1021}}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const int64_t size = c.table.size_of("vocab");
    const Build build = [](const auto& in) {
      // Ids from -1 to size: the first and the last point outside.
      const NamedArray one = cast(constant(in[0].graph(), 1, in[0].dtype()), DType::i32);
      return std::vector{gather(in[0], "vocab", in[1] - one)};
    };
    CHECK(worst_error(b, {{c.table}, {c.index, Kind::kIds, size + 2}}, with_gradients(build)) <=
          kReductionTolerance);
  }
}

TEST_CASE("copies, concatenations and casts agree in every layout", "[device]") {
  const Backends b;
  const Axes axes = {{"batch", 3}, {"position", 5}, {"embed", 7}};
  const Build build = [&](const auto& in) {
    const NamedArray turned = transpose(in[0], Axes{axes[2], axes[0], axes[1]});
    const NamedArray parts[] = {turned, exp(turned), in[1]};
    return std::vector{copy(turned), merge_axes(in[0], {axes[1], axes[2]}, "flat"),
                       concat(parts, "position"),
                       cast(cast(in[0] * 9.0, DType::i32), in[0].dtype())};
  };
  CHECK(worst_error(b, {{axes}, {Axes{axes[2], axes[0], {"position", 2}}}}, build) <=
        kElementwiseTolerance);
}

TEST_CASE("gelu and its gradient agree", "[device]") {
  const Backends b;
  for (const Gelu kind : {Gelu::kTanh, Gelu::kErf})
    for (const Axes& axes : {Axes{{"embed", 1}}, Axes{{"position", 5}, {"embed", 7}},
                             Axes{{"position", 37}, {"embed", 1021}}}) {
      const Build build = [kind](const auto& in) { return std::vector{gelu(in[0] * 3.0, kind)}; };
      INFO(to_string(axes));
      CHECK(worst_error(b, {{axes}}, with_gradients(build), "gelu_grad") <= kElementwiseTolerance);
    }
}

TEST_CASE("layer norm and its gradient agree, with a bias and without", "[device]") {
  const Backends b;
  struct Case {
    Axes x, weight;
  };
  const std::vector<Case> cases = {
      {{{"position", 1}, {"embed", 1}}, {{"embed", 1}}},
      {{{"embed", 7}}, {{"embed", 7}}},
      {{{"batch", 3}, {"position", 5}, {"embed", 17}}, {{"embed", 17}}},
      {{{"batch", 2}, {"heads", 3}, {"head_dim", 5}}, {{"heads", 3}, {"head_dim", 5}}},
      {{{"position", 131}, {"embed", 257}}, {{"embed", 257}}},
  };
  for (const Case& c : cases)
    for (const bool bias : {false, true}) {
      const Build build = [bias](const auto& in) {
        return std::vector{layer_norm(in[0], in[1], bias ? in[2] : NamedArray(), 1e-3)};
      };
      std::vector<OperandSpec> operands = {{c.x}, {c.weight, Kind::kPositive}};
      if (bias) operands.push_back({c.weight});
      INFO(to_string(c.x) << (bias ? " with a bias" : ""));
      CHECK(worst_error(b, operands, with_gradients(build), "layer_norm_grad") <= kNormTolerance);
    }
}

TEST_CASE("layer norm over axes that are not the last is decomposed and agrees", "[device]") {
  const Backends b;
  const Build build = [](const auto& in) {
    return std::vector{layer_norm(in[0], in[1], NamedArray(), 1e-3)};
  };
  const std::vector<OperandSpec> operands = {{Axes{{"embed", 9}, {"position", 4}}},
                                             {Axes{{"embed", 9}}}};
  CHECK(worst_error(b, operands, with_gradients(build)) <= kNormTolerance);
  CHECK(error_in(b, Layout::kPlain, operands, build, "layer_norm") == INFINITY);
}

TEST_CASE("dropout drops the same elements and scales the same way", "[device]") {
  const Backends b;
  struct Case {
    Axes x, keys;
  };
  const std::vector<Case> cases = {
      {{{"batch", 1}, {"embed", 1}}, {{"batch", 1}, key_word()}},
      {{{"batch", 3}, {"position", 5}, {"embed", 7}}, {{"batch", 3}, key_word()}},
      {{{"batch", 3}, {"position", 5}, {"embed", 7}}, {{"batch", 3}, {"position", 5}, key_word()}},
      {{{"batch", 2}, {"position", 131}, {"embed", 257}}, {{"batch", 2}, key_word()}},
      {{{"position", 5}, {"embed", 7}}, {key_word()}},
  };
  for (const Case& c : cases)
    for (const double rate : {0.1, 0.5}) {
      const Build build = [rate](const auto& in) {
        return std::vector{dropout(in[0], in[1], rate)};
      };
      INFO(to_string(c.x));
      CHECK(worst_error(b, {{c.x}, {c.keys, Kind::kKeys}}, with_gradients(build), "dropout") <=
            kElementwiseTolerance);
    }
}

namespace {

struct AttentionCase {
  const char* name;
  int64_t batch, position, keys, kv_heads, groups, head_dim;  ///< groups 0: no such axis
  bool causal, segments;
  double dropout;
};

std::vector<OperandSpec> attention_operands(const AttentionCase& c) {
  Axes q = {{"batch", c.batch}, {"position", c.position}, {"kv_head", c.kv_heads}};
  if (c.groups > 0) q.push_back({"q_group", c.groups});
  q.push_back({"head_dim", c.head_dim});
  const Axes k = {{"batch", c.batch},
                  {"key_position", c.keys},
                  {"kv_head", c.kv_heads},
                  {"head_dim", c.head_dim}};
  std::vector<OperandSpec> operands = {{q}, {k}, {k}};
  if (c.segments)
    operands.push_back({Axes{{"batch", c.batch}, {"position", c.position}}, Kind::kIds, 3});
  if (c.dropout > 0) operands.push_back({Axes{{"batch", c.batch}, key_word()}, Kind::kKeys});
  return operands;
}

Build attention_build(const AttentionCase& c) {
  return [c](const std::vector<NamedArray>& in) {
    return std::vector{attention(in[0], in[1], in[2],
                                 {.scale = 0.7,
                                  .causal = c.causal,
                                  .segment_ids = c.segments ? in[3] : NamedArray(),
                                  .dropout_rate = c.dropout,
                                  .dropout_keys = c.dropout > 0 ? in.back() : NamedArray()})};
  };
}

}  // namespace

TEST_CASE("attention and its gradients agree in every layout", "[device]") {
  const Backends b;
  const std::vector<AttentionCase> cases = {
      {"one token", 1, 1, 1, 1, 0, 1, true, false, 0},
      {"causal", 2, 7, 7, 3, 0, 5, true, false, 0},
      {"all keys", 2, 7, 7, 3, 0, 5, false, false, 0},
      {"fewer queries than keys", 2, 5, 11, 2, 0, 4, false, false, 0},
      {"segments", 2, 13, 13, 2, 0, 4, true, true, 0},
      {"segments and all keys", 2, 13, 13, 2, 0, 4, false, true, 0},
      {"dropout", 2, 7, 7, 2, 0, 4, true, false, 0.3},
      {"dropout and all keys", 1, 7, 9, 2, 0, 4, false, false, 0.3},
      {"grouped queries", 2, 7, 7, 2, 3, 5, true, false, 0},
      {"everything", 2, 13, 13, 2, 3, 4, true, true, 0.2},
  };
  for (const AttentionCase& c : cases) {
    INFO(c.name);
    CHECK(worst_error(b, attention_operands(c), with_gradients(attention_build(c)),
                      "attention_grad") <= kAttentionTolerance);
  }
}

TEST_CASE("attention agrees over several tiles of queries and keys", "[device]") {
  const Backends b;
  for (const AttentionCase& c :
       {AttentionCase{"long", 1, 131, 131, 2, 0, 16, true, false, 0},
        AttentionCase{"long, everything", 1, 197, 197, 1, 2, 8, true, true, 0.1},
        AttentionCase{"long, all keys", 2, 67, 301, 1, 0, 8, false, false, 0.2}}) {
    INFO(c.name);
    CHECK(error_in(b, Layout::kPlain, attention_operands(c), with_gradients(attention_build(c)),
                   "attention_grad") <= kAttentionTolerance);
  }
}

TEST_CASE("attention reads the parts of one projection in place", "[device]") {
  const Backends b;
  const Axes qkv = {{"batch", 2}, {"position", 9}, {"kv_head", 6}, {"head_dim", 5}};
  const Build build = [](const auto& in) {
    const int64_t sizes[] = {2, 2, 2};
    const auto parts = partition(in[0], "kv_head", sizes);
    return std::vector{attention(parts[0], rename(parts[1], "position", "key_position"),
                                 rename(parts[2], "position", "key_position"),
                                 {.scale = 0.4, .segment_ids = {}, .dropout_keys = {}})};
  };
  CHECK(worst_error(b, {{qkv}}, with_gradients(build), "attention_grad") <= kAttentionTolerance);
}

TEST_CASE("attention agrees in orders of axes that no fused kernel knows", "[device]") {
  const Backends b;
  struct Case {
    const char* name;
    Axes q, k, segments, keys;
  };
  const Axis batch{"batch", 2}, position{"position", 5}, keys{"key_position", 5},
      head{"kv_head", 2}, group{"q_group", 3}, dim{"head_dim", 4};
  const std::vector<Case> cases = {
      {"heads before positions",
       {batch, head, position, dim},
       {batch, head, keys, dim},
       {batch, position},
       {batch, key_word()}},
      {"head_dim first",
       {dim, batch, position, head},
       {batch, keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"groups outside heads",
       {batch, position, group, head, dim},
       {batch, keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"groups apart",
       {batch, head, position, group, dim},
       {batch, keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"no heads",
       {batch, position, dim},
       {batch, keys, dim},
       {batch, position},
       {batch, key_word()}},
      {"one head of keys without its axis",
       {batch, position, head, dim},
       {batch, keys, dim},
       {batch, position},
       {batch, key_word()}},
      {"keys in groups",
       {batch, position, head, group, dim},
       {batch, keys, head, group, dim},
       {batch, position},
       {batch, key_word()}},
      {"the same keys for all sequences",
       {batch, position, head, dim},
       {keys, head, dim},
       {batch, position},
       {batch, key_word()}},
      {"segments of all sequences",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {position},
       {batch, key_word()}},
      {"segments, positions first",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {position, batch},
       {batch, key_word()}},
      {"one dropout key",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {batch, position},
       {key_word()}},
      {"a dropout key a head",
       {batch, position, head, dim},
       {batch, keys, head, dim},
       {batch, position},
       {batch, head, key_word()}},
  };
  for (const Case& c : cases) {
    const Build build = [](const auto& in) {
      return std::vector{attention(
          in[0], in[1], in[2],
          {.scale = 0.7, .segment_ids = in[3], .dropout_rate = 0.2, .dropout_keys = in[4]})};
    };
    INFO(c.name);
    CHECK(worst_error(b, {{c.q}, {c.k}, {c.k}, {c.segments, Kind::kIds, 2}, {c.keys, Kind::kKeys}},
                      with_gradients(build)) <= kAttentionTolerance);
  }
}

TEST_CASE("the cross entropy of a linear layer agrees, with gradients and without", "[device]") {
  const Backends b;
  struct Case {
    int64_t batch, position, embed, vocab;
  };
  for (const Case& c :
       {Case{1, 1, 1, 2}, Case{2, 7, 5, 11}, Case{3, 37, 19, 127}, Case{1, 300, 8, 40'009}}) {
    const Axes tokens = {{"batch", c.batch}, {"position", c.position}};
    const Axes h = {tokens[0], tokens[1], {"embed", c.embed}};
    const std::vector<OperandSpec> operands = {{h},
                                               {Axes{{"vocab", c.vocab}, {"embed", c.embed}}},
                                               {tokens, Kind::kIds, c.vocab},
                                               {tokens}};
    const Build forward = [](const auto& in) {
      const LinearXent xent = linear_xent(in[0] * 2.0, in[1], in[2], in[3]);
      return std::vector{xent.loss, xent.token_loss};
    };
    const Build gradients = [](const auto& in) {
      const LinearXent xent = linear_xent(in[0] * 2.0, in[1], in[2], in[3]);
      const NamedArray wrt[] = {in[0], in[1], in[3]};
      std::vector<NamedArray> out = backprop(xent.loss * 0.5, wrt);
      out.push_back(xent.loss);
      return out;
    };
    INFO(to_string(h) << ", " << c.vocab << " words");
    const bool large = c.vocab > 1000;
    for (const Layout layout : kLayouts) {
      if (large && layout != Layout::kPlain) continue;
      CHECK(error_in(b, layout, operands, forward, "linear_xent") <= kCrossEntropyTolerance);
      if (!large)
        CHECK(error_in(b, layout, operands, gradients, "linear_xent") <= kCrossEntropyTolerance);
    }
  }
}

namespace {

/// param grad m v, then the scalars of a step in the order of the op's operands.
std::vector<OperandSpec> adamw_operands(const Axes& axes) {
  std::vector<OperandSpec> operands = {{axes}, {axes}, {axes}, {axes, Kind::kPositive}};
  for (int i = 0; i < 4; ++i) operands.push_back({Axes{}, Kind::kPositive});
  return operands;
}

Build adamw_build(double proceed) {
  return [proceed](const auto& in) {
    const NamedArray go = constant(in[0].graph(), proceed, in[0].dtype());
    const AdamwState s = adamw(in[0], in[1], in[2], in[3], {in[4], in[5], in[6], in[7], go},
                               {.beta1 = 0.8, .beta2 = 0.97, .epsilon = 1e-3, .weight_decay = 0.1});
    return std::vector{s.param, s.m, s.v};
  };
}

}  // namespace

TEST_CASE("a step of AdamW agrees, and leaves every bit where it may not proceed", "[device]") {
  const Backends b;
  for (const Axes& axes : {Axes{{"embed", 1}}, Axes{{"vocab", 13}, {"embed", 7}},
                           Axes{{"vocab", 131}, {"embed", 257}}}) {
    INFO(to_string(axes));
    CHECK(worst_error(b, adamw_operands(axes), adamw_build(1), "adamw") <= kElementwiseTolerance);
    CHECK(worst_error(b, adamw_operands(axes), adamw_build(0), "adamw") == 0);
  }
}

TEST_CASE("AdamW in the memory of its operands gives the same bits", "[device]") {
  const auto backend = make_backend("cpu", 2);
  const Axes axes = {{"vocab", 131}, {"embed", 257}};
  std::vector<Array> inputs;
  for (const OperandSpec& spec : adamw_operands(axes))
    inputs.push_back(make_array(spec, Layout::kPlain, static_cast<uint32_t>(inputs.size()) + 1));
  const Function apart = trace(adamw_build(1), inputs, DType::f32);
  Function donated = duplicate(apart);
  donated.results[0].donated = 0;
  donated.results[1].donated = 2;
  donated.results[2].donated = 3;
  CHECK(same_bits(run(duplicate(apart), inputs, *backend),
                  run(duplicate(donated), inputs, *backend)));
  CHECK(compile(std::move(donated), *backend).arena_bytes() == 0);
}

TEST_CASE("random bits and uniforms are the reference's on the cpu backend", "[device]") {
  const auto cpu = make_backend("cpu", 2);
  const Build build = [](const auto& in) {
    const Axes axes = {{"batch", 3}, {"position", 11}, {"embed", 5}};
    const NamedArray bits = random_bits(fold_in(in[0], 17), axes);
    return std::vector{bits, uniform(bits, DType::f32)};
  };
  const std::vector<Array> inputs = {random_keys({{"batch", 3}}, 1)};
  CHECK(same_bits(evaluate(build, inputs, *cpu, DType::f32),
                  evaluate(build, inputs, *make_backend("reference"), DType::f32)));
}
