// The CPU backend: its primitives against the reference backend in f64, in every layout that
// operands come in, with the same bits for any number of threads.
#include <algorithm>
#include <array>
#include <cmath>

#include "ops/elementwise/value.h"
#include "passes/passes.h"
#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

// Relative to the largest element of a result, at least kSmallest.
constexpr double kElementwiseTolerance = 1e-6;
constexpr double kProductTolerance = 2e-6;
constexpr double kReductionTolerance = 1e-6;
constexpr double kLongSumTolerance = 5e-6;  // hundreds of thousands of terms of either sign

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
  for (size_t code = 0; code < kMapOpcodes; ++code) {
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
    for (size_t code = 0; code < kMapOpcodes; ++code) {
      const auto opcode = static_cast<Map>(code);
      if (arity(opcode) != 1 || !std::isfinite(map_value(opcode, -1.0))) continue;
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

TEST_CASE("sums of squares agree whichever axis is kept", "[device]") {
  const Backends b;
  const std::vector<Axes> shapes = {{{"a", 1}, {"b", 1}, {"c", 1}},
                                    {{"a", 3}, {"b", 5}, {"c", 7}},
                                    {{"a", 131}, {"b", 3}, {"c", 67}}};
  for (const Axes& shape : shapes)
    for (const Axis& kept : shape) {
      const Build build = [&](const auto& in) {
        return std::vector{sum_squares(in[0], kept.name)};
      };
      INFO(to_string(shape) << " by " << kept.name.text());
      CHECK(worst_error(b, {{shape}}, build, "sum_squares") <= kReductionTolerance);
    }
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
