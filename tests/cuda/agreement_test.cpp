// Every primitive on the emulated card agrees with the reference backend: in all layouts of the
// operands, over sizes 1, primes and tails, with the same bits in every order of the threads.
#include "cuda/card_agreement.h"
#include "kernels/cuda/device/math.cuh"
#include "passes/passes.h"
#include "support/random_function.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Operands in the plain layout, the floating ones of this type but for losses' scale.
std::vector<Array> made(const std::vector<OperandSpec>& operands, DType dtype) {
  std::vector<Array> inputs;
  for (size_t i = 0; i < operands.size(); ++i) {
    inputs.push_back(make_array(operands[i], Layout::kPlain, static_cast<uint32_t>(i) + 1));
    if (is_float(inputs[i].type.dtype) && i < 2) inputs[i].type.dtype = dtype;
  }
  return inputs;
}

Build node(Map opcode) {
  return [opcode](const std::vector<NamedArray>& in) {
    if (in.size() == 1) return std::vector{map(opcode, in[0])};
    if (in.size() == 2) return std::vector{map(opcode, in[0], in[1])};
    return std::vector{select(in[0], in[1], in[2])};
  };
}

std::vector<OperandSpec> map_operands(Map opcode, int64_t n, Kind kind) {
  const Axes axes[] = {{{"a", 3}, {"b", n}}, {{"b", n}}, {{"b", n}, {"a", 3}}};
  std::vector<OperandSpec> operands;
  for (int i = 0; i < arity(opcode); ++i) operands.push_back({axes[i], kind, 5});
  return operands;
}

constexpr int64_t kSizes[] = {1, 7, 67};

}  // namespace

TEST_CASE("map: every opcode on the card agrees with reference", "[cuda][card]") {
  for (size_t code = 0; code < kMapOpcodes; ++code) {
    const auto opcode = static_cast<Map>(code);
    INFO(name_of(opcode));
    for (const int64_t n : kSizes) {
      const auto operands = map_operands(opcode, n, Kind::kPositive);
      CHECK(worst_card_error(operands, node(opcode)) <= kF32Tolerance);
    }
    CHECK(worst_card_error(map_operands(opcode, 67, Kind::kPositive), node(opcode), true) <=
          kBf16Tolerance);
  }
}

TEST_CASE("map of integers on the card is exact", "[cuda][card]") {
  for (const Map opcode :
       {Map::kAdd, Map::kSub, Map::kMul, Map::kMax, Map::kMin, Map::kLess, Map::kLessEqual,
        Map::kEqual, Map::kAnd, Map::kOr, Map::kNot, Map::kSelect}) {
    INFO(name_of(opcode));
    CHECK(worst_card_error(map_operands(opcode, 67, Kind::kIds), node(opcode)) == 0);
  }
}

TEST_CASE("exp, log, tanh, sigmoid and erf on the card have the cpu's bits", "[cuda][card]") {
  Array x{{DType::f32, {{"a", 4001}}}, {}};
  for (int i = -2000; i <= 2000; ++i) x.values.push_back(i * std::abs(i) * 3e-5);
  size_t place = 7;
  for (const double special : {0.0, -0.0, 1e-40, 3e38, HUGE_VAL, -HUGE_VAL})
    x.values[place++] = special;
  for (const Map opcode : {Map::kExp, Map::kLog, Map::kTanh, Map::kSigmoid, Map::kErf}) {
    INFO(name_of(opcode));
    FakeCuda fake;
    const auto card = evaluate(node(opcode), {x}, *FakeCuda::backend(), DType::f32);
    const auto cpu = evaluate(node(opcode), {x}, *make_backend("cpu"), DType::f32);
    for (size_t i = 0; i < x.values.size(); ++i) {
      const double a = card[0].values[i], b = cpu[0].values[i];
      INFO(x.values[i]);
      REQUIRE((a == b || (std::isnan(a) && std::isnan(b))));
    }
  }
}

TEST_CASE("a division made of a reciprocal to an ulp has the bits of the division", "[cuda]") {
  int64_t wrong = 0;
  for (uint32_t i = 0; i < 3000000; ++i) {
    // What tanh divides: u / (u + 2), u from the smallest numbers to 1e8, denser below.
    const float u = cuda::kernels::float_of(i * 427u), b = u + 2.0f;
    if (!(u < 1e8f)) break;
    const float exact = 1.0f / b;
    for (const float r : {std::nextafter(exact, 0.0f), exact, std::nextafter(exact, 1.0f)})
      if (cuda::kernels::divide_from(u, b, r) != u / b) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("the special values of pow, log1p, sin and cos on the card are C's", "[cuda][card]") {
  const double inf = INFINITY;
  const std::vector<double> numbers = {0,   -0.0, 1,    -1,   0.5, -0.5, 2,    -2,  3,   -3,
                                       2.5, 1e9,  1e-9, -1e9, 40,  -40,  1e30, inf, -inf};
  const Array x{{DType::f32, {{"x", static_cast<int64_t>(numbers.size())}}}, numbers};
  const Axes pairs = {{"x", x.type.elements()}, {"y", x.type.elements()}};
  const Array base = looped(pairs, [&](const auto& where) { return at(x, where); });
  const Array exponent =
      looped(pairs, [&](const auto& where) { return numbers[static_cast<size_t>(where[1].at)]; });
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const auto same = [](double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    return a == b || std::abs(a - b) <= 1.2e-7 * std::abs(b);
  };
  const auto powers = evaluate(node(Map::kPow), {base, exponent}, *backend, DType::f32)[0];
  for (const auto& where : indices(powers.type.axes)) {
    const auto a = static_cast<float>(at(base, where));
    const auto b = static_cast<float>(at(exponent, where));
    INFO(a << " to the power of " << b);
    CHECK(same(at(powers, where), std::pow(a, b)));
  }
  const auto logs = evaluate(node(Map::kLog1p), {x}, *backend, DType::f32)[0];
  for (size_t i = 0; i < numbers.size(); ++i)
    CHECK(same(logs.values[i], std::log1p(static_cast<float>(numbers[i]))));
  Array angle{{DType::f32, {{"x", 2001}}}, {}};
  for (int i = -1000; i <= 1000; ++i) angle.values.push_back(static_cast<float>(i * i * i * 0.37));
  const auto sines = evaluate(node(Map::kSin), {angle}, *backend, DType::f32)[0];
  const auto cosines = evaluate(node(Map::kCos), {angle}, *backend, DType::f32)[0];
  for (size_t i = 0; i < angle.values.size(); ++i) {
    CHECK(std::abs(sines.values[i] - std::sin(angle.values[i])) < 6e-8);
    CHECK(std::abs(cosines.values[i] - std::cos(angle.values[i])) < 6e-8);
  }
}

TEST_CASE("cast and pack on the card agree with reference", "[cuda][card]") {
  const DType types[] = {DType::f32, DType::bf16, DType::i32, DType::u32};
  for (const DType from : types)
    for (const DType to : types) {
      INFO(name_of(from) << " to " << name_of(to));
      const Build build = [=](const std::vector<NamedArray>& in) {
        return std::vector{cast(cast(in[0] * 3.7, from), to)};
      };
      CHECK(worst_card_error({{{{"a", 3}, {"b", 37}}, Kind::kPositive}}, build) == 0);
    }
}

TEST_CASE("copies, merged axes and parts one after the other are exact on the card",
          "[cuda][card]") {
  for (const int64_t n : kSizes) {
    const Axes axes = {{"a", 2}, {"b", n}, {"c", 3}};
    const std::vector<OperandSpec> operands = {{axes}, {axes}};
    const Build build = [&](const std::vector<NamedArray>& in) {
      const NamedArray parts[] = {in[0], in[1], in[0]};
      return std::vector{copy(in[0]), merge_axes(in[1], {{"a", 2}, {"b", n}}, "ab"),
                         concat(parts, "a"), concat(parts, "b"), concat(parts, "c")};
    };
    CHECK(worst_card_error(operands, build) == 0);
    CHECK(worst_card_error(operands, build, true) == 0);
  }
}

TEST_CASE("reductions on the card agree with reference, whatever makes an output", "[cuda][card]") {
  for (const Axes& axes : {Axes{{"a", 3}, {"b", 5}}, Axes{{"a", 1}, {"b", 300}},
                           Axes{{"a", 61}, {"b", 67}}, Axes{{"a", 9001}, {"b", 2}}})
    for (const Axes& over : {Axes{axes[0]}, Axes{axes[1]}, axes})
      for (const Reduce kind : {Reduce::kSum, Reduce::kMax, Reduce::kMin}) {
        INFO(to_string(axes) << " over " << to_string(over));
        const Build build = [&](const std::vector<NamedArray>& in) {
          return std::vector{reduce(kind, in[0], over)};
        };
        CHECK(worst_card_error({{axes}}, build) <= kF32Tolerance);
        CHECK(card_error(build, {random_ids(axes, 1000, 3)}) == 0);
        CHECK(card_error(build, narrowed({random_real(axes, 3)})) <= kF32Tolerance);
      }
}

TEST_CASE("a long sum on the card is made in pieces, and the same on any card", "[cuda][card]") {
  const Axes axes = {{"a", 2}, {"b", 40013}};
  const Array x = random_real(axes, 5);
  const Build build = [&](const std::vector<NamedArray>& in) {
    return std::vector{sum(in[0], {axes[1]}), sum(in[0], axes)};
  };
  CHECK(card_error(build, {x}) <= 5e-5);  // of what is about the root of the sum's length
  std::vector<std::vector<Array>> found;
  for (const int multiprocessors : {1, 2, 132}) {
    FakeCuda fake;
    fake.set_multiprocessors(multiprocessors);
    found.push_back(evaluate(build, {x}, *FakeCuda::backend(), DType::f32));
  }
  CHECK(same_bits(found[0], found[1]));
  CHECK(same_bits(found[0], found[2]));
}

TEST_CASE("a row's sum on the card is the same whatever other rows there are", "[cuda][card]") {
  constexpr int64_t kRows = 8200, kWidth = 37;  // as many as make the order of other sums another
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const Build build = [](const auto& in) { return std::vector{sum_squares(in[0], "vocab")}; };
  const auto sums_of = [&](const std::vector<double>& values) {
    const int64_t rows = std::ssize(values) / kWidth;
    return evaluate(build, {array({{"vocab", rows}, {"embed", kWidth}}, values)}, *backend,
                    DType::f32)[0]
        .values;
  };
  const Array whole = random_real({{"vocab", kRows}, {"embed", kWidth}}, 1);
  const std::vector<double> sums = sums_of(whole.values);
  const auto last = whole.values.end() - 3 * kWidth;
  CHECK(sums_of({last, whole.values.end()}) == std::vector(sums.end() - 3, sums.end()));
}

TEST_CASE("NaN is the largest and the smallest on the card, as on reference", "[cuda][card]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  for (const int64_t n : {5, 300})
    for (const int64_t where : {int64_t{0}, n - 1}) {
      Array x = random_real({{"a", n}}, 1);
      x.values[static_cast<size_t>(where)] = NAN;
      for (const Reduce kind : {Reduce::kMax, Reduce::kMin}) {
        const Build build = [&](const std::vector<NamedArray>& in) {
          return std::vector{reduce(kind, in[0], in[0].axes())};
        };
        CHECK(std::isnan(evaluate(build, {x}, *backend, DType::f32)[0].values[0]));
      }
    }
}

TEST_CASE("products on the card agree with reference", "[cuda][card]") {
  struct Shape {
    int64_t batch, m, n, k;
  };
  for (const Shape s : {Shape{1, 1, 1, 1}, Shape{2, 7, 5, 3}, Shape{1, 67, 65, 33},
                        Shape{3, 1, 130, 16}, Shape{2, 64, 64, 64}}) {
    const Axis batch{"batch", s.batch}, m{"m", s.m}, n{"n", s.n}, k{"k", s.k};
    const Build build = [&](const std::vector<NamedArray>& in) {
      return std::vector{dot(in[0], in[1], {batch, m, n}), dot(in[0], in[1], {n, batch, m}),
                         dot(in[0], in[1], {m, n})};
    };
    const std::vector<OperandSpec> operands = {{{batch, m, k}}, {{k, batch, n}}};
    CHECK(worst_card_error(operands, build) <= kF32Tolerance);
    CHECK(worst_card_error(operands, build, true) <= kF32Tolerance);
  }
}

TEST_CASE("products without a summed axis, and over several, agree on the card", "[cuda][card]") {
  const Axes left = {{"a", 3}, {"b", 5}, {"c", 7}}, right = {{"c", 7}, {"b", 5}, {"d", 2}};
  CHECK(worst_card_error({{left}, {right}}, [](const std::vector<NamedArray>& in) {
          return std::vector{dot(in[0], in[1], {{"a", 3}, {"d", 2}}),
                             dot(in[0], in[1], {{"d", 2}, {"b", 5}, {"a", 3}, {"c", 7}}),
                             dot(in[0], in[0], {})};
        }) <= kF32Tolerance);
}

TEST_CASE("gather on the card is exact; an index outside gives 0", "[cuda][card]") {
  const Axes x = {{"batch", 3}, {"v", 11}, {"e", 5}};
  const Build build = [](const std::vector<NamedArray>& in) {
    return std::vector{
        gather(in[0], "v", in[1] - cast(constant(in[0].graph(), 2, DType::f32), DType::i32))};
  };
  for (const Axes& index : {Axes{{"p", 17}}, Axes{{"batch", 3}}, Axes{{"p", 4}, {"batch", 3}}}) {
    CHECK(worst_card_error({{x}, {index, Kind::kIds, 15}}, build) == 0);
    CHECK(worst_card_error({{x}, {index, Kind::kIds, 15}}, build, true) == 0);
  }
}

TEST_CASE("scatter_add on the card adds in the order of positions", "[cuda][card]") {
  const auto adds = [](const Axes& to) {
    return [to](const std::vector<NamedArray>& in) {
      return std::vector{scatter_add(in[0], to, "v", in[1])};
    };
  };
  // Positions that meet, more than a block has threads of; one position; a kept axis; a wide one.
  const Axes positions = {{"p", 531}};
  CHECK(worst_card_error({{{{"p", 531}, {"e", 3}}}, {positions, Kind::kIds, 9}},
                         adds({{"v", 7}, {"e", 3}})) <= kF32Tolerance);
  CHECK(worst_card_error({{{{"p", 5}, {"e", 300}}}, {{{"p", 5}}, Kind::kIds, 3}},
                         adds({{"v", 3}, {"e", 300}})) <= kF32Tolerance);
  CHECK(worst_card_error({{{{"b", 4}, {"p", 9}}}, {{{"b", 4}, {"p", 9}}, Kind::kIds, 6}},
                         adds({{"v", 5}, {"b", 4}})) <= kF32Tolerance);
  CHECK(worst_card_error({{{{"b", 4}, {"e", 7}}}, {{{"b", 4}}, Kind::kIds, 6}},
                         adds({{"b", 4}, {"v", 5}, {"e", 7}})) == 0);
  CHECK(worst_card_error({{{{"b", 4}, {"p", 9}, {"q", 2}}}, {{{"b", 4}}, Kind::kIds, 6}},
                         adds({{"b", 4}, {"v", 5}})) <= kF32Tolerance);
}

TEST_CASE("scatter on the card keeps the last of updates that meet", "[cuda][card]") {
  const Build build = [](const std::vector<NamedArray>& in) {
    return std::vector{scatter(in[0], in[1], "v", in[2]), scatter(in[0] * 2.0, in[1], "v", in[2])};
  };
  CHECK(worst_card_error(
            {{{{"v", 7}, {"e", 3}}}, {{{"p", 31}, {"e", 3}}}, {{{"p", 31}}, Kind::kIds, 9}},
            build) == 0);
  CHECK(worst_card_error(
            {{{{"b", 4}, {"v", 7}, {"e", 3}}}, {{{"b", 4}, {"e", 3}}}, {{{"b", 4}}, Kind::kIds, 9}},
            build, true) == 0);
}

TEST_CASE("top_k on the card is exact, with equal values too", "[cuda][card]") {
  for (const int64_t n : {5, 67, 700}) {
    const Build real = [](const std::vector<NamedArray>& in) {
      return std::vector{top_k(in[0], "v", {"k", 5})};
    };
    const Build equal = [](const std::vector<NamedArray>& in) {
      return std::vector{top_k(cast(in[0], DType::f32), "v", {"k", 5})};
    };
    CHECK(worst_card_error({{{{"a", 3}, {"v", n}}}}, real) == 0);
    CHECK(worst_card_error({{{{"v", n}, {"a", 3}}, Kind::kIds, 4}}, equal) == 0);
  }
}

TEST_CASE("qr on the card agrees with reference", "[cuda][card]") {
  const Build build = [](const std::vector<NamedArray>& in) {
    return std::vector{qr(in[0], "row", "column")};
  };
  for (const auto& [rows, columns] : {std::pair{1, 1}, {7, 7}, {33, 33}, {300, 37}})
    CHECK(worst_card_error({{{{"row", rows}, {"a", 2}, {"column", columns}}}}, build) <=
          kF32Tolerance * 10);
  CHECK(worst_card_error({{{{"column", 5}, {"row", 9}}}}, build) <= kF32Tolerance * 10);
  const Array zeros{{DType::f32, {{"row", 3}, {"column", 2}}}, std::vector<double>(6, 0)};
  CHECK(card_error(build, {zeros}) == 0);
}

TEST_CASE("eigh on the card agrees with reference", "[cuda][card]") {
  for (const int64_t n : {1, 2, 7, 20}) {
    const Axis row{"row", n}, column{"column", n}, a{"a", 2};
    // Values apart by about 1, so that the vectors are well determined.
    const Build build = [&](const std::vector<NamedArray>& in) {
      std::vector<double> places;
      for (int64_t i = 0; i < n; ++i) places.push_back(static_cast<double>(i % 2 == 0 ? i : -i));
      const NamedArray diagonal = literal(in[0].graph(), "row", places, in[0].dtype());
      const NamedArray at =
          cast(map(Map::kEqual, broadcast(iota(in[0].graph(), row, DType::i32), {row, column}),
                   broadcast(iota(in[0].graph(), column, DType::i32), {row, column})),
               in[0].dtype());
      const auto [values, vectors] = eigh(at * diagonal + in[0] * 0.1, "row", "column");
      return std::vector{values, vectors};
    };
    CHECK(worst_card_error({{{row, a, column}}}, build) <= kF32Tolerance * 10);
  }
  const Build plain = [](const std::vector<NamedArray>& in) {
    const auto [values, vectors] = eigh(in[0], "row", "column");
    return std::vector{values, vectors};
  };
  const Array zeros{{DType::f32, {{"row", 3}, {"column", 3}}}, std::vector<double>(9, 0)};
  CHECK(card_error(plain, {zeros}) == 0);
}

TEST_CASE("random numbers on the card are the reference's", "[cuda][card]") {
  for (const int64_t rows : kSizes) {
    const Build build = [&](const std::vector<NamedArray>& in) {
      const NamedArray folded = fold_in(in[0], 77);
      const NamedArray bits = random_bits(folded, {{"row", rows}, {"x", 5}, {"y", 13}});
      return std::vector{folded, bits, uniform(bits, DType::f32)};
    };
    CHECK(card_error(build, {random_keys({{"row", rows}}, 3)}) == 0);
  }
}

TEST_CASE("numbers from nothing are exact on the card", "[cuda][card]") {
  std::vector<double> many;
  for (int i = 0; i < 1500; ++i) many.push_back(i * 0.1 - 7);
  const Build build = [&](const std::vector<NamedArray>& in) {
    Graph& graph = in[0].graph();
    std::vector<NamedArray> out;
    for (const DType dtype : {DType::f32, DType::bf16, DType::i32})
      out.push_back(literal(graph, "n", many, dtype));
    for (const DType dtype : {DType::f32, DType::bf16, DType::i32, DType::u32})
      out.push_back(iota(graph, {"n", 1500}, dtype));
    return out;
  };
  CHECK(card_error(build, {random_real({{"a", 1}}, 3)}) == 0);
}

TEST_CASE("composites are decomposed for the card", "[cuda][card]") {
  const Axes x = {{"batch", 2}, {"position", 9}, {"embed", 17}};
  const Axes weight = {{"embed", 17}};
  const Build build = with_gradients([](const std::vector<NamedArray>& in) {
    return std::vector{gelu(layer_norm(in[0], in[1], in[2], 1e-5), Gelu::kTanh),
                       softmax(in[0], "embed")};
  });
  CHECK(worst_card_error({{x}, {weight}, {weight}}, build) <= 4 * kF32Tolerance);
}

TEST_CASE("random functions on the card: planned and shared memory change no bit", "[cuda][card]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend(), reference = make_backend("reference");
  for (uint32_t seed = 0; seed < 40; ++seed) {
    INFO("seed " << seed);
    const RandomFunction random = random_function(seed, DType::f32);
    const auto plain =
        run(decompose(duplicate(random.function), *backend), random.inputs, *backend);
    CHECK(same_bits(run(optimise(random.function, *backend), random.inputs, *backend), plain));
    const auto exact =
        run(decompose(duplicate(random.function), *reference), random.inputs, *reference);
    for (size_t i = 0; i < exact.size(); ++i)
      CHECK(difference(plain[i], exact[i], kSmallest) <= 1e-4);
  }
}

TEST_CASE("indices are divided exactly, by any size", "[cuda][card]") {
  for (const int64_t size : {2, 3, 5, 64, 1000, 50257, 65536, 2147483647})
    for (const int64_t x :
         {int64_t{0}, size - 1, size, size + 1, 12345 * size - 1, 12345 * size,
          (int64_t{1} << 62) / size * size - 1, (int64_t{1} << 62) / size * size, INT64_MAX}) {
      const Axes axes = {{"a", 2}, {"b", size}};
      const View view{axes, {3 * size, 2}, 0};
      const cuda::Space space = cuda::make_space(axes, {&view});
      INFO(x << " / " << size);
      CHECK(static_cast<int64_t>(
                static_cast<uint64_t>(__umul64hi(static_cast<uint64_t>(x), space.factors[1])) >>
                space.shifts[1]) == x / size);
    }
}

TEST_CASE("the cross entropy of a linear layer on the card agrees with its decomposition",
          "[cuda][card]") {
  struct Size {
    int64_t tokens, embed, vocab;
  };
  for (const Size& size : {Size{1, 4, 3}, Size{7, 5, 67}, Size{131, 8, 300}, Size{260, 8, 64}})
    for (const LinearXentOptions& options :
         {LinearXentOptions{}, LinearXentOptions{.z_loss = 1e-2, .soft_cap = 3}}) {
      INFO(size.tokens << " tokens of " << size.vocab << ", cap " << options.soft_cap);
      const Axis token{"token", size.tokens}, embed{"embed", size.embed};
      const Axis vocab{"vocab", size.vocab};
      const std::vector<OperandSpec> operands = {
          {{token, embed}}, {{vocab, embed}}, {{token}, Kind::kIds, size.vocab}, {{token}}};
      const Build gradients = [&](const std::vector<NamedArray>& in) {
        const LinearXent xent = linear_xent(in[0] * 2.0, in[1], in[2], in[3], options);
        std::vector<NamedArray> out = {xent.loss, xent.token_loss};
        const NamedArray wrt[] = {in[0], in[1]};
        for (const NamedArray& gradient : backprop(xent.loss, wrt)) out.push_back(gradient);
        return out;
      };
      const Build frozen = [&](const std::vector<NamedArray>& in) {
        const LinearXent xent =
            linear_xent(in[0] * 2.0, stop_gradient(in[1]), in[2], in[3], options);
        return backprop(xent.loss, std::span(in.data(), 1));
      };
      const Build losses = [&](const std::vector<NamedArray>& in) {
        const LinearXent xent = linear_xent(in[0], in[1], in[2], in[3], options);
        return std::vector{xent.loss, xent.token_loss};
      };
      const Build scaled = [&](const std::vector<NamedArray>& in) {
        LinearXentOptions scaled_only = options;
        scaled_only.scaled_only = true;
        const NamedArray middle = constant(in[2].graph(), size.vocab / 2, DType::i32);
        const NamedArray counts = cast(map(Map::kLess, in[2], middle), in[3].dtype());
        return std::vector{
            linear_xent(in[0], in[1], in[2], in[3] * counts, scaled_only).token_loss};
      };
      if (size.tokens == 131)
        CHECK(card_error(scaled, made(operands, DType::f32)) <= 20 * kF32Tolerance);
      CHECK(worst_card_error(operands, gradients) <= 20 * kF32Tolerance);
      CHECK(worst_card_error(operands, frozen) <= 20 * kF32Tolerance);
      CHECK(card_error(losses, made(operands, DType::f32)) <= 20 * kF32Tolerance);
      CHECK(card_error(losses, made(operands, DType::bf16)) <= kBf16Tolerance);
      CHECK(card_error(gradients, made(operands, DType::bf16)) <= 4 * kBf16Tolerance);
    }
}

TEST_CASE("long rows of the cross entropy, which have more threads, agree on the card",
          "[cuda][card]") {
  const Axis token{"token", 2}, embed{"embed", 4}, vocab{"vocab", 17001};
  const Build gradients = [](const std::vector<NamedArray>& in) {
    const LinearXent xent = linear_xent(in[0] * 2.0, in[1], in[2], in[3], {});
    const NamedArray wrt[] = {in[0], in[1]};
    std::vector<NamedArray> out = backprop(xent.loss, wrt);
    out.push_back(xent.token_loss);
    return out;
  };
  const std::vector<OperandSpec> operands = {
      {{token, embed}}, {{vocab, embed}}, {{token}, Kind::kIds, vocab.size}, {{token}}};
  CHECK(card_error(gradients, made(operands, DType::f32)) <= 20 * kF32Tolerance);
}

TEST_CASE("int8 and its scales on the card agree with reference", "[cuda][card]") {
  Array values{{DType::i8, {{"out", 5}, {"in", 51}}}, {}};
  for (int i = 0; i < 255; ++i) values.values.push_back(i - 127);
  const std::vector<Array> in = {values, positive({{"out", 5}}, 2),
                                 random_real({{"row", 7}, {"in", 51}}, 1)};
  const Build build = [](const auto& of) {
    return std::vector{dequantize(of[0], of[1], DType::f32), quantized_dot(of[2], of[0], of[1])};
  };
  FakeCuda fake;
  const auto card = evaluate(build, in, *FakeCuda::backend(), DType::f32);
  const auto reference = evaluate(build, in, *make_backend("reference"), DType::f32);
  CHECK(same_bits({card[0]}, {reference[0]}));
  CHECK(difference(card[1], reference[1]) <= kF32Tolerance);
}
